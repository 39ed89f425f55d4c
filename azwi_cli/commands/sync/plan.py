"""What has to change in the federated credentials of one identity. Pure: it reads and writes nothing.

The owner's mark is in a credential's name, since those of managed identities have neither description nor tags.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import MAX_CREDENTIALS, FederatedCredential, Trust

_READABLE: Final = 60
_UNIQUE: Final = 16
_SUBJECT: Final = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")


class Action(StrEnum):
    """What is done to a credential."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Rules:
    """Whose credentials are planned: those of an owner and an issuer, of one namespace if it is set.

    `kept` are accounts, by namespace and name, of which nothing is pruned: what they want is not known.
    """

    owner: str
    issuer: str
    prune: bool
    namespace: str = ""
    kept: frozenset[tuple[str, str]] = frozenset()

    @property
    def mark(self) -> str:
        """How the names of the owner's credentials begin; neither an owner nor the rest of a name has a `_`."""
        return f"azwi_{self.owner}_"

    def name(self, trust: Trust) -> str:
        """The name of a trust's credential, of the letters and length that both APIs take (3 to 120)."""
        readable = re.sub(r"[^a-zA-Z0-9-]", "-", f"{trust.namespace}-{trust.service_account}")[:_READABLE]
        unique = hashlib.sha256(f"{trust.issuer}\n{trust.subject}".encode()).hexdigest()[:_UNIQUE]
        return f"{self.mark}{readable}-{unique}"

    def owns(self, credential: FederatedCredential) -> bool:
        """Whether the owner made it."""
        return credential.name.startswith(self.mark)

    def may_prune(self, credential: FederatedCredential) -> bool:
        """Whether it is deleted when no account needs it."""
        subject = _SUBJECT.fullmatch(credential.subject)
        in_scope = not self.namespace or (subject is not None and subject[1] == self.namespace)
        if subject is not None and subject.groups() in self.kept:
            return False
        return self.owns(credential) and credential.issuer == self.issuer and in_scope


@dataclass(frozen=True, slots=True)
class Change:
    """One credential that is created, changed (deleted and created) or deleted."""

    action: Action
    name: str
    subject: str
    audience: str = ""
    trust: Trust | None = None
    credential: FederatedCredential | None = None

    @property
    def account(self) -> str:
        """The ServiceAccount, as namespace/name; the subject where it is of nothing else."""
        found = _SUBJECT.fullmatch(self.subject)
        return f"{found[1]}/{found[2]}" if found else self.subject

    def document(self) -> JsonObject:
        """As machines get it."""
        return {"action": str(self.action), "account": self.account, "name": self.name, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class IdentityPlan:
    """What has to change in one identity; with a problem nothing of it is changed.

    `unneeded` are the owner's credentials that no account needs and that stay, since pruning is not asked for.
    """

    client_id: str
    label: str
    before: int = 0
    in_place: int = 0
    changes: tuple[Change, ...] = ()
    unneeded: int = 0
    problems: tuple[str, ...] = ()

    @property
    def after(self) -> int:
        """How many credentials it has once it is done."""
        created = sum(change.action is Action.CREATE for change in self.changes)
        deleted = sum(change.action is Action.DELETE for change in self.changes)
        return self.before + created - deleted


def plan(
    client_id: str, label: str, trusts: Sequence[Trust], existing: Sequence[FederatedCredential], rules: Rules
) -> IdentityPlan:
    """The changes of an identity, deletions first, since they make room."""
    by_key = {(credential.issuer, credential.subject): credential for credential in existing}
    wanted = {(trust.issuer, trust.subject): trust for trust in trusts}
    unneeded = [
        credential for key, credential in sorted(by_key.items()) if key not in wanted and rules.may_prune(credential)
    ]
    changes = [_deletion(credential) for credential in unneeded] if rules.prune else []
    problems: list[str] = []
    in_place = 0
    for key, trust in wanted.items():
        found = by_key.get(key)
        if found is None:
            changes.append(Change(Action.CREATE, rules.name(trust), trust.subject, trust.audience, trust))
        elif trust.audience in found.audiences:
            in_place += 1
        elif rules.owns(found):
            changes.append(Change(Action.CHANGE, found.name, trust.subject, trust.audience, trust, found))
        else:
            problems.append(_foreign(found, trust))
    planned = IdentityPlan(
        client_id,
        label,
        len(existing),
        in_place,
        tuple(changes),
        0 if rules.prune else len(unneeded),
        tuple(problems),
    )
    return planned if planned.after <= MAX_CREDENTIALS else _overfull(planned, unneeded)


def _deletion(credential: FederatedCredential) -> Change:
    return Change(Action.DELETE, credential.name, credential.subject, credential=credential)


def _foreign(found: FederatedCredential, trust: Trust) -> str:
    return (
        f"credential {found.name!a} has the issuer and subject of {trust.namespace}/{trust.service_account}, but "
        f"audience {', '.join(found.audiences)} instead of {trust.audience}, and another owner: change or delete it"
    )


def _overfull(planned: IdentityPlan, unneeded: Iterable[FederatedCredential]) -> IdentityPlan:
    free = sum(1 for _ in unneeded) if planned.unneeded else 0
    hint = f"--prune makes room for {free}" if free else "spread the accounts over several identities"
    problem = f"it would have {planned.after} credentials, and Entra allows {MAX_CREDENTIALS}: {hint}"
    return IdentityPlan(
        planned.client_id,
        planned.label,
        planned.before,
        planned.in_place,
        planned.changes,
        planned.unneeded,
        (*planned.problems, problem),
    )
