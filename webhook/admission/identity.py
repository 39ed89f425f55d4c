"""The identity of a pod: client id, tenant id, and the lifetime of its token.

| | pod annotation | ServiceAccount annotation | mapping | setting |
|---|---|---|---|---|
| client id | | 1 | 2 | |
| tenant id | | 1 | 2 | 3 |
| token expiration | 1 | 2 | 3 | 4 |

The first source that is set and not empty wins.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import Any, Final

from azure_workload_identity import names
from webhook.admission import values
from webhook.admission.errors import HttpError
from webhook.admission.misspellings import UnrecognizedKey, unrecognized_keys
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted

# Whether a text matches a pattern: truthy when it does.
Match = Callable[[str], object]
_GLOB: Final = frozenset("*?[")


class AccountsUnavailableError(HttpError):
    """ServiceAccounts cannot be read at the moment.

    That is not the pod's fault, so it becomes an HTTP 500 and the cluster's failurePolicy decides. Not a 503: client-go
    replaces the message of a 503, so that users would not see ours.
    """

    status = 500
    code = "accounts-unavailable"


@dataclass(frozen=True, slots=True)
class Account:
    """The part of a ServiceAccount that admission needs. Ids are without surrounding blanks; empty means not set."""

    client_id: str = ""
    tenant_id: str = ""
    token_expiration: str = ""
    labelled: bool = False
    unrecognized_annotations: tuple[UnrecognizedKey, ...] = ()
    unrecognized_labels: tuple[UnrecognizedKey, ...] = ()

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> "Account":
        """Read a ServiceAccount's metadata, of the API server or a manifest; other values than strings are not set."""
        annotations = _strings(metadata.get("annotations"))
        labels = _strings(metadata.get("labels"))
        return cls(
            client_id=_kept(annotations.get(names.CLIENT_ID, "").strip()),
            tenant_id=_kept(annotations.get(names.TENANT_ID, "").strip()),
            token_expiration=_kept(annotations.get(names.TOKEN_EXPIRATION, "")),
            labelled=names.USE_LABEL in labels,
            unrecognized_annotations=tuple(unrecognized_keys(annotations, names.ACCOUNT_ANNOTATIONS)),
            unrecognized_labels=tuple(unrecognized_keys(labels, frozenset({names.USE_LABEL}))),
        )


@dataclass(frozen=True, slots=True)
class MappingEntry:
    """The identity of the ServiceAccounts that match two patterns (`*`, `?`, `[...]` as in file names)."""

    namespace: str
    service_account: str
    client_id: str
    tenant_id: str = ""
    token_expiration: int | None = None

    @property
    def specificity(self) -> tuple[bool, bool, int, int]:
        """The order of entries: exact namespaces first, then exact ServiceAccounts, then longer patterns."""
        return (
            not _GLOB & set(self.namespace),
            not _GLOB & set(self.service_account),
            sum(character not in _GLOB for character in self.namespace),
            sum(character not in _GLOB for character in self.service_account),
        )

    @property
    def is_exact(self) -> bool:
        """Whether the entry names one account, without a pattern."""
        return self.specificity[:2] == (True, True)


class IdentityMapping:
    """Mapping entries, most specific first; of two that are equally specific the first one counts."""

    def __init__(self, entries: Iterable[MappingEntry] = ()) -> None:
        self._patterns: list[tuple[Match, Match, MappingEntry]] = []
        self._exact: dict[tuple[str, str], MappingEntry] = {}
        self.entries = tuple(sorted(entries, key=lambda entry: entry.specificity, reverse=True))
        for entry in self.entries:
            if entry.is_exact:
                self._exact.setdefault((entry.namespace, entry.service_account), entry)
            else:
                self._patterns.append((_matcher(entry.namespace), _matcher(entry.service_account), entry))

    def find(self, namespace: str, service_account: str) -> MappingEntry | None:
        """The entry for a ServiceAccount, if any."""
        exact = self._exact.get((namespace, service_account))
        if exact is not None:
            return exact
        matching = (
            entry
            for matches_namespace, matches_name, entry in self._patterns
            if matches_namespace(namespace) and matches_name(service_account)
        )
        return next(matching, None)


def _matcher(pattern: str) -> Match:
    """Compile a pattern once: fnmatch itself caches only a few hundred."""
    return re.compile(translate(pattern)).match if _GLOB & set(pattern) else pattern.__eq__


@dataclass(frozen=True, slots=True)
class Identity:
    """The resolved identity; `client_id` may be empty (apps that name their identities themselves)."""

    client_id: str
    tenant_id: str
    token_expiration: int
    warnings: tuple[AdmissionWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Defaults:
    """The settings for pods whose identity no other source sets; `token_expiration` in seconds."""

    tenant_id: str
    token_expiration: int = names.DEFAULT_TOKEN_EXPIRATION


def ids(account: Account, mapped: MappingEntry | None, tenant_id: str) -> tuple[str, str]:
    """Client id, which may be empty, and tenant id by the table above, unchecked; `tenant_id` is the setting's."""
    client = account.client_id or (mapped.client_id if mapped else "")
    return client, account.tenant_id or (mapped.tenant_id if mapped else "") or tenant_id


def resolve(
    name: str, account: Account, mapped: MappingEntry | None, defaults: Defaults, *, token_expiration: int | None = None
) -> Identity:
    """The identity of a pod of ServiceAccount `name`, by the table above; `token_expiration` is the pod's annotation.

    Raises:
        Refusal: INVALID_TOKEN_EXPIRATION, INVALID_CLIENT_ID or INVALID_TENANT_ID.
    """
    client_id, tenant_id = ids(account, mapped, defaults.tenant_id)
    if client_id and not values.is_id(client_id):
        raise Refusal(
            Reason.INVALID_CLIENT_ID,
            f"{names.CLIENT_ID} {quoted(client_id)} of ServiceAccount {name} cannot be a client id: "
            "give the UUID that Azure shows as the application or client id",
        )
    if not values.is_id(tenant_id):
        raise Refusal(
            Reason.INVALID_TENANT_ID,
            f"{names.TENANT_ID} {quoted(tenant_id)} of ServiceAccount {name} cannot be a tenant id: "
            "give the tenant's UUID or one of its domains",
        )
    return Identity(
        client_id=client_id,
        tenant_id=tenant_id,
        token_expiration=token_expiration or _expiration(name, account, mapped, defaults),
        warnings=tuple(_warnings(client_id, tenant_id, name, account)),
    )


def _warnings(client_id: str, tenant_id: str, name: str, account: Account) -> Iterator[AdmissionWarning]:
    yield from account_warnings(account, name)
    if not client_id:
        yield AdmissionWarning(
            WarningCode.NO_CLIENT_ID,
            f"ServiceAccount {name} has no {names.CLIENT_ID} annotation, so {names.ENV_CLIENT_ID} is not injected",
        )
    elif not values.is_uuid(client_id):
        yield AdmissionWarning(
            WarningCode.MALFORMED_CLIENT_ID,
            f"client id {quoted(client_id)} of ServiceAccount {name} is not a UUID",
        )
    if not values.is_tenant(tenant_id):
        yield AdmissionWarning(
            WarningCode.MALFORMED_TENANT_ID,
            f"tenant id {quoted(tenant_id)} of ServiceAccount {name} is neither a UUID nor a domain",
        )


def account_warnings(account: Account, name: str) -> Iterator[AdmissionWarning]:
    """Warn of keys of a ServiceAccount that are misspelt or belong elsewhere."""
    for key, intended in account.unrecognized_labels:
        if intended in names.ACCOUNT_ANNOTATIONS:
            yield AdmissionWarning(
                WarningCode.WRONG_OBJECT,
                f"{quoted(key)} is a label of ServiceAccount {name} and must be its annotation {intended}",
            )
        else:
            yield AdmissionWarning(WarningCode.UNKNOWN_KEY, f"label {quoted(key)} of ServiceAccount {name} is ignored")
    for key, intended in account.unrecognized_annotations:
        if intended in names.ACCOUNT_ANNOTATIONS:
            yield AdmissionWarning(
                WarningCode.NEAR_MISS,
                f"{quoted(key)} of ServiceAccount {name} is ignored; the annotation is {intended}",
            )
        elif intended is not None:
            yield AdmissionWarning(
                WarningCode.WRONG_OBJECT,
                f"{quoted(key)} of ServiceAccount {name} is ignored; it belongs on the pod",
            )
        else:
            yield AdmissionWarning(
                WarningCode.UNKNOWN_KEY, f"{quoted(key)} of ServiceAccount {name} is not known and ignored"
            )


def _expiration(name: str, account: Account, mapped: MappingEntry | None, defaults: Defaults) -> int:
    if account.token_expiration:
        return parse_expiration(account.token_expiration, f"ServiceAccount {name}")
    if mapped is not None and mapped.token_expiration is not None:
        return mapped.token_expiration
    return defaults.token_expiration


def parse_expiration(text: str, where: str) -> int:
    """The seconds that an annotation of `where` asks for.

    Raises:
        Refusal: INVALID_TOKEN_EXPIRATION.
    """
    seconds = values.integer(text)
    if seconds is None or not names.MIN_TOKEN_EXPIRATION <= seconds <= names.MAX_TOKEN_EXPIRATION:
        raise Refusal(
            Reason.INVALID_TOKEN_EXPIRATION,
            f"{names.TOKEN_EXPIRATION} {quoted(text)} of {where} is not a number of seconds from "
            f"{names.MIN_TOKEN_EXPIRATION} to {names.MAX_TOKEN_EXPIRATION}",
        )
    return seconds


def _kept(text: str) -> str:
    """The part of a value that is kept, since accounts are: long enough to be recognised as too long for an id."""
    return text if len(text) <= values.MAX_ID else text[: values.MAX_ID + 1]


def _strings(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key: text for key, text in value.items() if isinstance(key, str) and isinstance(text, str)}
