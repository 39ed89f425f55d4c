"""Checks at their edges; each finding with its command is tried in tests/cluster/doctor."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import FederatedCredential
from azwi_cli.clock_skew import ClockReading
from azwi_cli.commands.doctor.checks import azure, clock, mapping, pods, webhook
from azwi_cli.commands.doctor.checks.check import CheckResult, Group, Status
from azwi_cli.commands.doctor.findings import Area, Code, Unreadable
from azwi_cli.commands.doctor.fixes import line
from azwi_cli.commands.doctor.report import CHECKS, Outcome, document, unreachable
from azwi_cli.commands.doctor.snapshot import HeldCredentials, Installation, StoredMapping, is_workload_identity
from azwi_cli.commands.doctor.text import Style, result_lines, summary, text
from azwi_cli.console.errors import CommandError
from tests.azwi_cli.commands.doctor.snapshots import (
    CLIENT_ID,
    NOW,
    USE,
    account,
    examine,
    installation,
    mapped,
    snapshot,
    workload,
)

ISSUER = "https://issuer.test/"
SUBJECT = "system:serviceaccount:shop:app"
INTERNET = [{"ipBlock": {"cidr": "0.0.0.0/0"}}]


def policy(egress: list[JsonObject], **spec: Any) -> JsonObject:  # noqa: ANN401  fields
    """Write a NetworkPolicy for every pod of the namespace."""
    return {
        "metadata": {"name": "closed", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": egress, **spec},
    }


def port(number: int | str, protocol: str = "TCP", **fields: int) -> JsonObject:
    """Write a port of a NetworkPolicy."""
    return {"port": number, "protocol": protocol, **fields}


@pytest.mark.parametrize(
    ("policies", "blocked"),
    [
        ([], ""),
        ([policy([])], "TCP 443 or UDP 53 (DNS)"),
        ([policy([{}])], ""),
        ([policy([], policyTypes=["Ingress"])], ""),
        ([policy([], podSelector={"matchLabels": {"app": "other"}})], ""),
        ([policy([{"ports": [port(443)]}])], "UDP 53 (DNS)"),
        ([policy([{"ports": [port(400, endPort=500)]}, {"ports": [port(53, "UDP")]}])], ""),
        ([policy([{"ports": [port("https")]}, {"ports": [port(53, "UDP")]}])], "TCP 443"),
        ([policy([{"to": INTERNET}])], ""),
        ([policy([{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}])], "TCP 443"),
        ([policy([{"to": [{"ipBlock": {"cidr": "20.190.128.0/18"}}]}])], ""),
        ([policy([{"to": [{"ipBlock": {"cidr": "fc00::/7"}}]}])], "TCP 443"),
        ([policy([{"to": [{"podSelector": {}}]}])], "TCP 443"),
        ([policy([]), policy([{}])], ""),
    ],
)
def test_egress(policies: list[JsonObject], blocked: str) -> None:
    """Policies add up; one without an egress type does not count, and Entra is any public address."""
    found = list(pods.reaches_entra(snapshot(workloads=[workload()], network_policies=policies)))
    assert [finding.what.partition("lets ")[2].removesuffix(" out") for finding in found] == (
        [blocked] if blocked else []
    )


@pytest.mark.parametrize(
    ("server", "azure", "said"),
    [
        (0, None, ""),
        (5, None, ""),
        (6, None, "ahead of this machine's"),
        (-6, None, "behind this machine's"),
        (6, 6, ""),
        (0, 6, "behind Azure's"),
        (3, -3, "ahead of Azure's"),
    ],
)
def test_clocks(server: int, azure: int | None, said: str) -> None:
    """Five minutes are forgiven, in both directions; what Azure shows counts before what this machine does."""
    clocks = [None if minutes is None else reading(minutes) for minutes in (server, azure)]
    found = list(clock.clocks(snapshot(server_clock=clocks[0], azure_clock=clocks[1])))
    assert [said in finding.what for finding in found] == ([True] if said else [])


def reading(minutes: int) -> ClockReading:
    """Read a clock that is wrong, at once."""
    return ClockReading(NOW + timedelta(minutes=minutes), NOW, NOW)


def unlike(entry: JsonObject, **fields: Any) -> Installation:  # noqa: ANN401  fields
    """Write a configuration with an entry of another name."""
    return Installation({"metadata": {"name": "x"}, "webhooks": [{"name": "x.y.z", **entry, **fields}]})


def test_ours() -> None:
    """A kubebuilder webhook at the same path is not ours; one that selects by our label is."""
    at_path = {"clientConfig": {"service": {"name": "s", "namespace": "n", "path": names.MUTATE_PATH}}}
    assert not is_workload_identity(unlike(at_path).configuration)
    assert is_workload_identity(unlike(at_path, objectSelector={"matchLabels": USE}).configuration)
    labelled = {"metadata": {"name": "x", "labels": {"azure-workload-identity.io/system": "true"}}}
    assert is_workload_identity(labelled)


def test_unreadable_is_no_finding() -> None:
    """Webhooks that may not be listed are not taken for absent."""
    assert list(webhook.installed(snapshot(installations=None))) == []
    [finding] = webhook.installed(snapshot(installations=[]))
    assert finding.code is Code.NOT_INSTALLED
    assert 'azureTenantID="$(az account show --query tenantId -o tsv)"' in finding.fix
    assert finding.fix.endswith(" --set image.registry=registry.example.com")
    [finding] = webhook.installed(snapshot(installations=[], tenant="it's"))
    assert line("azureTenantID=it's") in finding.fix


def test_disjoint_webhooks() -> None:
    """Two webhooks for different namespaces do not fight."""
    namespaces = {"shop": {"metadata": {"name": "shop", "labels": {"team": "a"}}}}
    first = installation("first", namespaceSelector={"matchLabels": {"team": "a"}})
    second = installation("second", namespaceSelector={"matchLabels": {"team": "b"}})
    assert list(webhook.alone(snapshot(installations=[first, second], namespaces=namespaces))) == []
    [finding] = webhook.alone(snapshot(installations=[first, first], namespaces=namespaces))
    assert finding.code is Code.SEVERAL_WEBHOOKS


def held(*credentials: tuple[str, str]) -> HeldCredentials:
    """Write an application with credentials of these issuers and subjects."""
    found = [
        FederatedCredential(f"id-{number}", f"name-{number}", issuer, subject, (names.DEFAULT_AUDIENCE,))
        for number, (issuer, subject) in enumerate(credentials)
    ]
    return HeldCredentials(CLIENT_ID, "application web", ("--aad-application-client-id", CLIENT_ID), found)


@pytest.mark.parametrize(
    ("credentials", "code"),
    [
        ([(ISSUER, SUBJECT)], None),
        ([], Code.CREDENTIAL_MISSING),
        ([("https://issuer.test", SUBJECT)], Code.ISSUER_DIFFERS),
        ([("https://Issuer.test/", SUBJECT)], Code.ISSUER_DIFFERS),
        ([("https://other.test/", SUBJECT), (ISSUER, SUBJECT)], None),
        ([(ISSUER, SUBJECT + " ")], Code.SUBJECT_DIFFERS),
        ([(ISSUER, "system:serviceaccount:app:shop")], Code.SUBJECT_DIFFERS),
        ([(ISSUER, "system:serviceaccount:shop:other")], Code.CREDENTIAL_MISSING),
        ([(ISSUER, f"system:serviceaccount:shop:{number}") for number in range(20)], Code.CREDENTIALS_FULL),
    ],
)
def test_trusted(credentials: list[tuple[str, str]], code: Code | None) -> None:
    """What Entra compares is compared byte for byte, and the nearest credential is reported."""
    seen = snapshot(accounts={("shop", "app"): account()}, held={CLIENT_ID: held(*credentials)})
    assert [finding.code for finding in azure.trusted(seen)] == ([code] if code else [])


@pytest.mark.parametrize(
    ("entry", "judged"), [(("shop", "app"), ["app"]), (("shop", "other"), ["other"]), (("sh*", "*"), ["app"])]
)
def test_trusted_by_mapping(entry: tuple[str, str], judged: list[str]) -> None:
    """An account that an entry names in full is compared, and by a pattern those whose pods take part."""
    accounts = {("shop", name): account(name, {}) for name in ("app", "other")}
    seen = snapshot(accounts=accounts, held={CLIENT_ID: held()}, workloads=[workload()], policy=mapped(entry))
    found = list(azure.trusted(seen))
    assert [finding.subject for finding in found] == [f"ServiceAccount shop/{name}" for name in judged]


def test_annotation_before_mapping() -> None:
    """An annotation wins over an entry, also for what is compared."""
    seen = snapshot(accounts={("shop", "app"): account(annotations={names.CLIENT_ID: "x"})}, policy=mapped(("*", "*")))
    assert [(identity.client_id, identity.entry) for identity in seen.identities().values()] == [("x", None)]


def test_outdated_by_mapping() -> None:
    """Pods with another client id than their account's entry are older than it."""
    env = [{"name": names.ENV_CLIENT_ID, "value": "older"}]
    old = {
        "metadata": {"name": "web-1"},
        "spec": {"volumes": [{"name": names.VOLUME}], "containers": [{"name": "app", "env": env}]},
    }
    seen = snapshot(
        accounts={("shop", "app"): account(annotations={})},
        workloads=[replace(workload(), pods=[old])],
        policy=mapped(("shop", "app")),
    )
    [finding] = pods.injected(seen)
    assert finding.code is Code.POD_OUTDATED
    assert finding.evidence[1] == f"that of the identity mapping is {CLIENT_ID}, and theirs older"


def test_many_faults() -> None:
    """Of many bad entries the first are reported, and where Helm would bring them back."""
    stored = StoredMapping("system", "map", faults=[f"mappings.{number}: no" for number in range(12)], release="azwi")
    [finding] = mapping.readable(snapshot(mapping=stored))
    assert finding.evidence[9:] == (
        "mappings.9: no",
        "and 2 more",
        "Helm release azwi writes it: fix its value identityMapping.mappings, too",
    )


def test_unread_accounts_are_not_gone() -> None:
    """A credential is only called useless when the accounts of its namespace were read."""
    full = held(*((ISSUER, f"system:serviceaccount:else:{number}") for number in range(20)))
    known = snapshot(accounts={("shop", "app"): account()}, held={CLIENT_ID: full}, accounts_of="shop")
    [finding] = azure.trusted(known)
    assert " delete " not in finding.fix
    [finding] = azure.trusted(snapshot(accounts=known.accounts, held=known.held, accounts_of=""))
    assert " delete phase federated-identity " in finding.fix


def test_report() -> None:
    """Errors come first; what steers a terminal does not reach it; what was not looked at is reported."""
    strange = account(annotations={"azure.workload.identity/\x1b[31m": "x", "azure.workload.identity/client_id": "y"})
    gap = Unreadable("Secrets", "no", Area.SECRET, "a right")
    report = examine(snapshot(installations=[installation()], accounts={("shop", "app"): strange}, unreadable=[gap]))
    assert [finding.code for finding in report.findings] == [Code.NEAR_MISS, Code.UNKNOWN_KEY]
    shown = text(report, Style())
    assert "\x1b" not in shown
    assert "Not looked at:\n  Secrets: no\n    needs: a right" in shown
    assert shown.endswith("1 error, 1 warning; 1 check could not be made.")
    assert document(report)["findings"][0]["severity"] == "error"


@pytest.mark.parametrize(
    ("areas", "outcome"),
    [
        ([], Outcome.OK),
        ([Area.SECRET, Area.POLICIES, Area.LIMITS, Area.CLOCK], Outcome.OK),
        ([Area.AZURE], Outcome.OK),
        ([Area.WEBHOOKS], Outcome.OK),
        ([Area.WEBHOOKS, Area.CALL], Outcome.UNKNOWN),
        ([Area.ACCOUNTS], Outcome.UNKNOWN),
        ([Area.WORKLOADS], Outcome.UNKNOWN),
    ],
)
def test_outcome(areas: list[Area], outcome: Outcome) -> None:
    """All is well only where what matters was looked at; where it was not, the summary is no all-clear."""
    seen = snapshot(installations=[installation()], unreadable=[Unreadable("x", "no", area) for area in areas])
    report = examine(seen)
    assert report.findings == []
    assert report.outcome is outcome
    assert ("no all-clear" in summary(report)) is (outcome is Outcome.UNKNOWN)
    assert ("could not be made" in summary(report)) is bool(areas)


def test_azure_that_was_asked_for() -> None:
    """An Azure that the command line names and that cannot be asked leaves the outcome unknown."""
    seen = snapshot(installations=[installation()], unreadable=[Unreadable("x", "no", Area.AZURE)])
    assert examine(seen, azure_wanted=True).outcome is Outcome.UNKNOWN


def test_unreachable() -> None:
    """Where nothing could be looked at no check has passed, and the reason is reported with what is needed."""
    report = unreachable(CommandError("401 Unauthorized", "log in"))
    assert {result.status for result in report.results} == {Status.UNKNOWN}
    written = document(report)
    assert (written["outcome"], written["findings"]) == ("unknown", [])
    assert written["notLookedAt"] == [{"what": "the cluster", "why": "401 Unauthorized", "needs": "log in"}]


def test_one_by_one() -> None:
    """What a check found is printed before the next check is made, and its group's name before that."""
    made: list[str] = []

    def results() -> Iterator[CheckResult]:
        for result in examine(snapshot(installations=[installation()])).results:
            made.append(result.title)
            yield result

    lines = result_lines(results(), Style())
    assert [next(lines), next(lines)] == ["webhook", "  \N{SQUARE ROOT} the webhook is installed"]
    assert made == ["the webhook is installed"]


def test_groups() -> None:
    """The checks of a group follow each other, since each is printed as it is made."""
    groups = [group for group, _ in groupby(check.group for check in CHECKS)]
    assert groups == [group for group in Group if group is not Group.BEFORE]


@pytest.mark.parametrize("columns", [80, 40])
def test_width(columns: int) -> None:
    """Nothing but a command to paste is wider than the terminal, and no word is broken."""
    wrong = account(annotations={"azure.workload.identity/client_id": CLIENT_ID})
    report = examine(snapshot(installations=[installation()], accounts={("shop", "app"): wrong}))
    lines = text(report, Style(width=columns)).splitlines()
    wide = [line for line in lines if len(line) > columns and "fix: " not in line and " " in line.strip()]
    assert [line for line in wide if len(line.split()[0]) + 14 < columns and len(line.split()) > 2] == []


def test_quiet() -> None:
    """With --quiet only findings and the outcome are printed."""
    wrong = account(annotations={"azure.workload.identity/client_id": CLIENT_ID})
    report = examine(snapshot(installations=[installation()], accounts={("shop", "app"): wrong}))
    shown = text(report, Style(quiet=True)).splitlines()
    assert shown[0] == "accounts"
    assert "the webhook is installed" not in "\n".join(shown)
    assert text(examine(snapshot(installations=[installation()])), Style(quiet=True)).startswith("No problem found by ")


def test_colour() -> None:
    """Marks are coloured only where colour is wanted, and are ASCII where nothing else can be shown."""
    report = examine(snapshot(installations=[installation()]))
    assert "\x1b[" in text(report, Style(colour=True))
    assert text(report, Style(ascii=True)).isascii()


def test_misspelt_client_id_is_one_finding() -> None:
    """A misspelt annotation is one finding with one fix, and not an identity that is missing, too."""
    wrong = {"azure.workload.identity/client_id": CLIENT_ID}
    seen = snapshot(
        installations=[installation()],
        accounts={("shop", "app"): account(annotations=wrong)},
        workloads=[workload(annotations=wrong)],
    )
    assert [finding.code for finding in examine(seen).findings] == [Code.NEAR_MISS]


@pytest.mark.parametrize(
    ("client_id", "fixed"),
    [
        (f"{{{CLIENT_ID}}}", f"azure.workload.identity/client-id={CLIENT_ID}"),
        (CLIENT_ID[:-1], "serviceaccount create"),
    ],
)
def test_client_id_that_is_no_uuid(client_id: str, fixed: str) -> None:
    """A client id that Entra cannot know is a finding; where it has one in it, that is the fix."""
    seen = snapshot(accounts={("shop", "app"): account(annotations={names.CLIENT_ID: client_id})})
    [finding] = examine(seen).findings
    assert finding.code is Code.CLIENT_ID_INVALID
    assert fixed in finding.fix


def test_last_of_doubled_variables_counts() -> None:
    """Of a variable that is there twice Kubernetes uses the last, so a pod with the right one there is good."""
    env = [{"name": names.ENV_CLIENT_ID, "value": value} for value in ("older", CLIENT_ID)]
    pod = {
        "metadata": {"name": "web-1"},
        "spec": {"volumes": [{"name": names.VOLUME}], "containers": [{"name": "app", "env": env}]},
    }
    seen = snapshot(accounts={("shop", "app"): account()}, workloads=[replace(workload(), pods=[pod])])
    assert list(pods.injected(seen)) == []
