"""The identity of a pod: client id, tenant id, token expiration."""

import re

import pytest

from azure_workload_identity import names
from testbed.pods import (
    ACCOUNT,
    CLIENT_ID,
    NAMESPACE,
    OTHER_CLIENT_ID,
    OTHER_TENANT_ID,
    TENANT_ID,
    account,
    codes,
    mapping,
    parsed,
)
from webhook.admission.annotations import PodAnnotations
from webhook.admission.identity import (
    Account,
    Defaults,
    Identity,
    IdentityMapping,
    MappingEntry,
    account_warnings,
    resolve,
)
from webhook.admission.reasons import Reason, Refusal

DEFAULTS = Defaults(TENANT_ID)


def resolved(
    found: Account = ACCOUNT,
    on_pod: str | None = None,
    mapped: MappingEntry | None = None,
    defaults: Defaults = DEFAULTS,
) -> Identity:
    """Resolve the identity of a pod with this expiration annotation."""
    annotations = {} if on_pod is None else {names.TOKEN_EXPIRATION: on_pod}
    expiration = PodAnnotations.parse(parsed(annotations=annotations), None).token_expiration
    return resolve("app", found, mapped, defaults, token_expiration=expiration)


def entry(**fields: int | str | None) -> MappingEntry:
    """Write a mapping entry for every account of the namespace."""
    known: dict[str, object] = {"namespace": NAMESPACE, "service_account": "*", "client_id": OTHER_CLIENT_ID}
    return MappingEntry(**(known | fields))  # type: ignore[arg-type]  # the fields of the class


def test_client_id_of_the_account() -> None:
    """The client id is the account's annotation."""
    assert resolved().client_id == CLIENT_ID


def test_no_client_id() -> None:
    """Without an annotation there is no client id, and the author is warned."""
    identity = resolved(account(client_id=""))
    assert identity.client_id == ""
    assert codes(identity.warnings) == ["no-client-id"]


def test_client_id_of_the_mapping() -> None:
    """The mapping gives the client id where the account has none, and without a warning."""
    identity = resolved(account(client_id=""), mapped=entry())
    assert (identity.client_id, identity.warnings) == (OTHER_CLIENT_ID, ())


def test_the_account_wins_over_the_mapping() -> None:
    """The account's annotations override the mapping."""
    found = account(tenant_id=OTHER_TENANT_ID, expiration="4800")
    identity = resolved(found, mapped=entry(tenant_id="mapped.test", token_expiration=5000))
    assert (identity.client_id, identity.tenant_id, identity.token_expiration) == (CLIENT_ID, OTHER_TENANT_ID, 4800)


@pytest.mark.parametrize("spelling", [f" {CLIENT_ID}", f"{CLIENT_ID}\n", f"\t{CLIENT_ID} "])
def test_blanks_around_ids(spelling: str) -> None:
    """Blanks and newlines around an id do not count."""
    assert resolved(account(client_id=spelling, tenant_id=f" {OTHER_TENANT_ID}\n")) == resolved(
        account(tenant_id=OTHER_TENANT_ID)
    )


@pytest.mark.parametrize("value", ["a b", "a\nb", "caf\u00e9", "x" * 254])
def test_impossible_client_ids(value: str) -> None:
    """What cannot stand in a variable as an id is refused."""
    with pytest.raises(Refusal, match="of ServiceAccount app cannot be a client id") as refused:
        resolved(account(client_id=value))
    assert refused.value.reason is Reason.INVALID_CLIENT_ID


def test_a_client_id_that_is_no_uuid() -> None:
    """A client id that is no UUID is used as it is, with a warning."""
    identity = resolved(account(client_id="my-app"))
    assert (identity.client_id, codes(identity.warnings)) == ("my-app", ["malformed-client-id"])


def test_tenant_of_the_account() -> None:
    """The account's tenant replaces the configured one."""
    assert resolved(account(tenant_id=OTHER_TENANT_ID)).tenant_id == OTHER_TENANT_ID


@pytest.mark.parametrize("found", [account(), account(tenant_id=""), account(tenant_id=" ")])
def test_tenant_of_the_settings(found: Account) -> None:
    """Without a tenant on the account, or with an empty one, it is the configured one."""
    assert resolved(found).tenant_id == TENANT_ID


def test_tenant_of_the_mapping() -> None:
    """The mapping's tenant counts more than the configured one."""
    assert resolved(mapped=entry(tenant_id="mapped.test")).tenant_id == "mapped.test"


def test_impossible_tenant_ids() -> None:
    """What cannot stand in a variable as a tenant is refused."""
    with pytest.raises(Refusal, match="'a b' of ServiceAccount app cannot be a tenant id") as refused:
        resolved(account(tenant_id="a b"))
    assert refused.value.reason is Reason.INVALID_TENANT_ID


def test_a_tenant_that_is_neither_uuid_nor_domain() -> None:
    """A tenant that is neither a UUID nor a domain is used as it is, with a warning."""
    identity = resolved(account(tenant_id="common"))
    assert (identity.tenant_id, codes(identity.warnings)) == ("common", ["malformed-tenant-id"])


@pytest.mark.parametrize(
    ("on_pod", "on_account", "in_mapping", "seconds"),
    [
        (None, "", None, 3600),
        (None, "4800", None, 4800),
        ("4000", "4800", None, 4000),
        ("4000", "", None, 4000),
        (None, "", 5000, 5000),
        (None, "4800", 5000, 4800),
        ("4000", "invalid", None, 4000),
        ("", "", None, 3600),
        ("", "4800", None, 4800),
        ("3600", "", None, 3600),
        ("86400", "", None, 86400),
        ("+7200", "", None, 7200),
        ("007200", "", None, 7200),
    ],
)
def test_expiration(on_pod: str | None, on_account: str, in_mapping: int | None, seconds: int) -> None:
    """The expiration is the pod's, the account's, the mapping's or the setting, the first that is not empty."""
    identity = resolved(account(expiration=on_account), on_pod, mapped=entry(token_expiration=in_mapping))
    assert identity.token_expiration == seconds


def test_expiration_of_the_settings() -> None:
    """Where no other source sets the expiration, the setting does."""
    assert resolved(defaults=Defaults(TENANT_ID, 7200)).token_expiration == 7200


@pytest.mark.parametrize(
    "text",
    ["3600s", "3599", "86401", "100", "invalid", "-3600", "1h", " 7200", "7_200", "\uff17\uff12\uff10\uff10", "7200.0"],
)
@pytest.mark.parametrize("where", ["the pod", "ServiceAccount app"])
def test_impossible_expirations(text: str, where: str) -> None:
    """A value other than a number of seconds from 3600 to 86400 is refused, with the object that has it."""
    found, on_pod = (account(), text) if where == "the pod" else (account(expiration=text), None)
    with pytest.raises(
        Refusal, match=re.escape(f"of {where} is not a number of seconds from 3600 to 86400")
    ) as refused:
        resolved(found, on_pod)
    assert refused.value.reason is Reason.INVALID_TOKEN_EXPIRATION


def test_an_account_without_anything() -> None:
    """Metadata without annotations and labels is an account without identity."""
    assert Account.from_metadata({"name": "app", "annotations": None, "labels": []}) == Account()


def test_annotations_that_are_no_strings() -> None:
    """An annotation that is not a string, as a manifest may have it, is not set."""
    assert account({names.CLIENT_ID: 7, names.TOKEN_EXPIRATION: 7200}) == Account()


def test_what_an_account_has_besides() -> None:
    """The label of an account is read, and keys that resemble known ones."""
    found = account(
        {"azure.workload.identity/clientid": "x", names.SKIP_CONTAINERS: "a", "team": "a"},
        labels={names.USE_LABEL: "true", "azure.workload.identity/uses": "x"},
    )
    assert found.labelled
    assert dict(found.unrecognized_annotations) == {
        "azure.workload.identity/clientid": names.CLIENT_ID,
        names.SKIP_CONTAINERS: names.SKIP_CONTAINERS,
    }
    assert dict(found.unrecognized_labels) == {"azure.workload.identity/uses": None}


def test_labels_of_an_account() -> None:
    """A label that should be an annotation is warned of, and so is an unknown one with our prefix."""
    found = account(labels={names.CLIENT_ID: "x", "azure.workload.identity/uses": "x"})
    assert [warning.code for warning in account_warnings(found, "app")] == ["wrong-object", "unknown-key"]


def test_keys_that_are_no_strings() -> None:
    """A key that is not a string, as YAML allows it, is ignored."""
    assert Account.from_metadata({"annotations": {1: "x"}, "labels": {None: "y"}}) == Account()


def test_warnings_of_an_account() -> None:
    """A warning names the intended key, or its right object, or says that the key is unknown."""
    found = account(
        {"azure.workload.identity/clientid": "", names.SKIP_CONTAINERS: "", "azure.workload.identity/x": ""}
    )
    assert [(warning.code, warning.text) for warning in account_warnings(found, "app")] == [
        (
            "near-miss",
            (
                "'azure.workload.identity/clientid' of ServiceAccount app is ignored; "
                "the annotation is azure.workload.identity/client-id"
            ),
        ),
        (
            "wrong-object",
            "'azure.workload.identity/skip-containers' of ServiceAccount app is ignored; it belongs on the pod",
        ),
        ("unknown-key", "'azure.workload.identity/x' of ServiceAccount app is not known and ignored"),
    ]


A, B, C, D, E = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "abcde")


@pytest.mark.parametrize(
    ("namespace", "name", "client_id"),
    [
        ("shop", "api", A),
        ("shop", "api-2", B),
        ("shop", "web", C),
        ("shop-eu", "api", E),
        ("shop-eu", "web", D),
        ("other", "api", E),
        ("other", "web", None),
    ],
)
def test_the_most_specific_entry_wins(namespace: str, name: str, client_id: str | None) -> None:
    """An exact entry wins over a pattern, the namespace in full before the account, then the longer pattern."""
    rules = mapping(("*", "api", E), ("shop*", "*", D), ("shop", "*", C), ("shop", "api*", B), ("shop", "api", A))
    found = rules.find(namespace, name)
    assert (found.client_id if found else None) == client_id


def test_the_first_of_equal_entries_wins() -> None:
    """Of two entries that are equally specific the first one counts."""
    assert (found := mapping((NAMESPACE, "app", A), (NAMESPACE, "app", B)).find(NAMESPACE, "app"))
    assert found.client_id == A
    assert (found := mapping((NAMESPACE, "a?p", A), (NAMESPACE, "ap?", B)).find(NAMESPACE, "app"))
    assert found.client_id == A


@pytest.mark.parametrize(
    ("pattern", "matches"), [("api-?", True), ("api-[0-4]", False), ("api-[5-9]", True), ("API-*", False)]
)
def test_patterns(pattern: str, matches: bool) -> None:  # noqa: FBT001  the expected value
    """Patterns are those of file names, and case counts."""
    assert bool(mapping((NAMESPACE, pattern, A)).find(NAMESPACE, "api-7")) is matches


def test_an_empty_mapping() -> None:
    """Without entries nothing is found."""
    assert IdentityMapping().find(NAMESPACE, "app") is None


@pytest.mark.parametrize("annotation", [names.CLIENT_ID, names.TENANT_ID, names.TOKEN_EXPIRATION])
def test_long_values_of_an_account(annotation: str) -> None:
    """Of a value that is too long only so much is kept as shows that it is: accounts are kept in memory."""
    found = account({annotation: "9" * 100_000, "azure.workload.identity/" + "x" * 100_000: "y"})
    assert sum(len(value) for value in (found.client_id, found.tenant_id, found.token_expiration)) < 1000
    assert all(len(key) <= 317 for key, _ in found.unrecognized_annotations)
    with pytest.raises(Refusal, match=annotation):
        resolve("app", found, None, DEFAULTS)


def test_long_values_do_not_become_valid() -> None:
    """A value is not cut to one that counts."""
    assert account(expiration="0" * 300 + "3600").token_expiration.isdigit()
    with pytest.raises(Refusal):
        resolve("app", account(expiration="0" * 300 + "3600"), None, DEFAULTS)
