"""Plans the migration: one entry for each workload, and the reason for each that is skipped."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import MAX_CREDENTIALS
from azwi_cli.commands.podidentity import manifests, workloads
from azwi_cli.commands.podidentity.bindings import (
    POD_LABEL,
    USER_ASSIGNED,
    AzureIdentity,
    AzureIdentityBinding,
    exempt,
    parse_bindings,
)
from azwi_cli.commands.podidentity.workloads import LabelledWorkload, PodIdentityResources
from azwi_cli.offline import admissions, policy
from azwi_cli.offline.owners import pod_of
from webhook.admission.review import Decision

DEFAULT_ACCOUNT: Final = "default"
# What the API server does not let anybody change in place.
_UNCHANGEABLE: Final = frozenset({"Job", "Pod"})
_LAZY: Final = frozenset({"ReplicaSet", "ReplicationController"})


@dataclass(frozen=True, slots=True)
class MigrationOptions:
    """What the person asks for; `token_expiration` in seconds."""

    tenant_id: str = ""
    token_expiration: int = names.DEFAULT_TOKEN_EXPIRATION
    proxy_port: int = names.DEFAULT_PROXY_PORT
    force_namespaced: bool = False


@dataclass(frozen=True, slots=True)
class Migration:
    """One workload: its identity, its ServiceAccount, the manifests to apply, and notes."""

    namespace: str
    kind: str
    name: str
    identity: AzureIdentity
    service_account: str
    documents: Sequence[JsonObject] = field(repr=False)
    notes: Sequence[str] = ()

    @property
    def subject(self) -> str:
        """The subject of its federated credential."""
        return f"system:serviceaccount:{self.namespace}:{self.service_account}"

    @property
    def file(self) -> str:
        """The name of its file: unambiguous, since namespaces and kinds have no dots."""
        return f"{self.namespace}.{self.kind.lower()}.{self.name}.yaml"


@dataclass(frozen=True, slots=True)
class Skipped:
    """What is not migrated, and why."""

    namespace: str
    kind: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """The whole migration, with notes on it as a whole."""

    migrations: Sequence[Migration]
    skipped: Sequence[Skipped]
    notes: Sequence[str] = ()


class _CannotMigrateError(Exception):
    """Why a workload is left out."""


def make(snapshot: PodIdentityResources, options: MigrationOptions) -> MigrationPlan:
    """Plan the migration of everything in a snapshot, in a fixed order."""
    bindings, broken = parse_bindings(snapshot.identities, snapshot.bindings)
    found, unknown_owners = workloads.find(snapshot.workloads, snapshot.pods)
    planner = _Planner(bindings, snapshot, options)
    migrations: list[Migration] = []
    skipped = [
        *(Skipped(binding.namespace, "AzureIdentityBinding", binding.name, binding.why) for binding in broken),
        *(Skipped(owner.namespace, owner.kind, owner.name, _by_hand(owner.api_version)) for owner in unknown_owners),
    ]
    for workload in found:
        try:
            migrations.append(planner.migration(workload))
        except _CannotMigrateError as why:
            skipped.append(Skipped(workload.namespace, workload.kind, workload.name, str(why)))
    return MigrationPlan(
        migrations,
        sorted(skipped, key=lambda workload: (workload.namespace, workload.kind, workload.name)),
        _counts(migrations),
    )


class _Planner:
    """Plans one workload after the other; remembers which ServiceAccount got which identity."""

    def __init__(
        self, bindings: Sequence[AzureIdentityBinding], snapshot: PodIdentityResources, options: MigrationOptions
    ) -> None:
        self._bindings = bindings
        self._exceptions = snapshot.exceptions
        self._options = options
        self._policy = policy.build({"tenant_id": policy.UNKNOWN_TENANT}, {})
        self._accounts: Mapping[tuple[str, str], JsonObject] = {
            (account["metadata"]["namespace"], account["metadata"]["name"]): account for account in snapshot.accounts
        }
        self._given: dict[tuple[str, str], AzureIdentity] = {}

    def migration(self, found: LabelledWorkload) -> Migration:
        if found.labels.get(names.USE_LABEL) == "true":
            raise _CannotMigrateError(f"it is opted in already; its label {POD_LABEL} can go")
        matching = self._matching(found)
        identity = matching[0].identity
        name = self._account(found, identity)
        options = self._options
        account = manifests.account(found.namespace, name, identity, options.tenant_id, options.token_expiration)
        documents = [account, manifests.workload(found, name, options.proxy_port)]
        notes = [*_notes(found, matching), *self._admitted(found, documents)]
        self._given[found.namespace, name] = identity
        return Migration(found.namespace, found.kind, found.name, identity, name, documents, notes)

    def _matching(self, found: LabelledWorkload) -> list[AzureIdentityBinding]:
        """The bindings of a workload, that of its own namespace first, one an identity."""
        if names_of := ", ".join(exempt(self._exceptions, found.namespace, found.labels)):
            raise _CannotMigrateError(f"AzurePodIdentityException {names_of} keeps it from pod identity")
        force = self._options.force_namespaced
        matching = [
            binding
            for binding in self._bindings
            if binding.matches(found.namespace, found.selector, force_namespaced=force)
        ]
        if not matching:
            raise _CannotMigrateError(f"no AzureIdentityBinding for it has the selector {found.selector!r}")
        matching.sort(key=lambda binding: (binding.namespace != found.namespace, binding.namespace, binding.name))
        once: dict[str, AzureIdentityBinding] = {}
        for binding in matching:
            once.setdefault(binding.identity.client_id, binding)
        return list(once.values())

    def _account(self, found: LabelledWorkload, identity: AzureIdentity) -> str:
        spec = pod_of(found.manifest)["spec"]
        used = spec.get("serviceAccountName") or spec.get("serviceAccount") or DEFAULT_ACCOUNT
        if used != DEFAULT_ACCOUNT:
            self._check(found.namespace, used, identity)
            return str(used)
        # The default account is everybody's; so it gets one of its own.
        for name in (found.name, f"{found.name}-{found.kind.lower()}"):
            if self._is_free(found.namespace, name, identity):
                return name
        raise _CannotMigrateError(
            f"ServiceAccounts {found.name} and {found.name}-{found.kind.lower()} have other identities; give it one"
        )

    def _check(self, namespace: str, name: str, identity: AzureIdentity) -> None:
        live = self._accounts.get((namespace, name))
        if live is None:
            raise _CannotMigrateError(f"its ServiceAccount {name} does not exist")
        given = self._given.get((namespace, name))
        if given is not None and given.client_id != identity.client_id:
            raise _CannotMigrateError(
                f"its ServiceAccount {name} has AzureIdentity {given} by another workload, and this one needs "
                f"{identity}: give it a ServiceAccount of its own"
            )
        annotated = _client_id(live)
        if annotated and annotated != identity.client_id:
            raise _CannotMigrateError(
                f"its ServiceAccount {name} is annotated with client id {annotated}, and AzureIdentity {identity} has "
                f"{identity.client_id}: decide, then run this again"
            )

    def _is_free(self, namespace: str, name: str, identity: AzureIdentity) -> bool:
        given, live = self._given.get((namespace, name)), self._accounts.get((namespace, name))
        if given is not None:
            return given.client_id == identity.client_id
        return live is None or _client_id(live) == identity.client_id

    def _admitted(self, found: LabelledWorkload, documents: Sequence[JsonObject]) -> list[str]:
        """What the webhook will say of the new pods: the same code, before they are made."""
        context = admissions.admission_context(documents, self._policy, found.namespace, None)
        [admission] = admissions.mutate(documents[1], context).admissions
        if admission.outcome.decision is not Decision.MUTATE:
            raise _CannotMigrateError(f"the webhook would not take it: {admission.outcome.message}")
        return [warning.text for warning in admission.outcome.warnings]


def _notes(found: LabelledWorkload, matching: Sequence[AzureIdentityBinding]) -> Iterator[str]:
    identity = matching[0].identity
    for other in matching[1:]:
        yield (
            f"it is bound to {other.identity} (client id {other.identity.client_id}), too: the app has to name that "
            "client id itself, and that identity needs a federated credential for the same subject"
        )
    if identity.kind != USER_ASSIGNED:
        yield f"AzureIdentity {identity} is an application: its secret is not needed any more"
    if not found.of_template:
        yield f"the label {POD_LABEL} is on its pods and not in its template; whatever puts it there can go"
    if POD_LABEL in manifests.selector(found.manifest):
        yield f"its selector has {POD_LABEL}, so the label stays"
    if found.kind in _UNCHANGEABLE:
        yield "it cannot be changed in place: kubectl replace --force -f FILE deletes and recreates it"
    if found.kind in _LAZY:
        yield "its pods do not change until they are deleted"


def _counts(migrations: Iterable[Migration]) -> list[str]:
    subjects: dict[AzureIdentity, set[str]] = {}
    for migration in migrations:
        subjects.setdefault(migration.identity, set()).add(migration.subject)
    return [
        f"AzureIdentity {identity} would need {len(found)} federated credentials and can have {MAX_CREDENTIALS}: let "
        "workloads share ServiceAccounts, or spread them over identities"
        for identity, found in subjects.items()
        if len(found) > MAX_CREDENTIALS
    ]


def _by_hand(api_version: str) -> str:
    return (
        f"{api_version} is not known here; in its pod template set label {names.USE_LABEL}: 'true', annotation "
        f"{names.INJECT_PROXY}: 'true' and a ServiceAccount annotated with {names.CLIENT_ID}"
    )


def _client_id(account: JsonObject) -> str:
    annotations = account["metadata"].get("annotations") or {}
    return str(annotations.get(names.CLIENT_ID, "")).strip()
