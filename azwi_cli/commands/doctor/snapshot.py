"""What a cluster holds that `azwi doctor` judges. Values only: reads/ fills them in, and checks/ looks at them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import FederatedCredential
from azwi_cli.clock_skew import ClockReading
from azwi_cli.commands.doctor.engine import PolicyEngine
from azwi_cli.commands.doctor.findings import Unreadable
from azwi_cli.commands.doctor.fixes import CommandBuilder, release
from azwi_cli.commands.doctor.selectors import matches
from azwi_cli.offline.limit_problem import LimitProblem
from azwi_cli.offline.templates import POD_PATHS
from webhook.admission import values
from webhook.admission.identity import Account, MappingEntry, ids
from webhook.admission.policy import Policy
from webhook.admission.review import AdmissionOutcome, Decision

USED: Final = {names.USE_LABEL: "true"}
# What the token proxy of AKS asks the API server: https://learn.microsoft.com/azure/aks/identity-bindings
BINDING_GROUP: Final = "cid.wi.aks.azure.com"
BINDING_VERB: Final = "use-managed-identity"
WEBHOOK_NAME: Final = "mutation.azure-workload-identity.io"
_PATHS: Final = frozenset({names.MUTATE_PATH, names.MUTATE_NAMESPACE_PATH})
_LABELS: Final = {
    "azure-workload-identity.io/system": "true",
    "app.kubernetes.io/part-of": "azure-workload-identity",
}


@dataclass(frozen=True, slots=True)
class Installation:
    """A MutatingWebhookConfiguration of Azure Workload Identity and its objects; None: not readable, {}: missing.

    `pods` are those of the Deployment, and `certificates` has no private key.
    """

    configuration: JsonObject = field(repr=False)
    service: JsonObject | None = None
    slices: Sequence[JsonObject] | None = None
    deployment: JsonObject | None = None
    pods: Sequence[JsonObject] = ()
    secret_name: str = ""
    certificates: Mapping[str, bytes] | None = None
    by_cert_manager: bool = False

    @property
    def name(self) -> str:
        """The configuration's name."""
        return str(self.configuration["metadata"]["name"])

    @property
    def subject(self) -> str:
        """What a finding calls it."""
        return f"MutatingWebhookConfiguration {self.name}"

    @property
    def webhooks(self) -> list[JsonObject]:
        """Its entries."""
        return list(self.configuration.get("webhooks") or ())

    @property
    def service_key(self) -> tuple[str, str]:
        """Namespace and name of its Service; empty where it is called by a URL."""
        services = ((webhook.get("clientConfig") or {}).get("service") for webhook in self.webhooks)
        service = next(filter(None, services), None)
        return (service["namespace"], service["name"]) if service else ("", "")

    @property
    def ready_endpoints(self) -> list[JsonObject]:
        """The endpoints of its Service that are ready."""
        endpoints = (endpoint for found in self.slices or () for endpoint in found.get("endpoints") or ())
        return [endpoint for endpoint in endpoints if (endpoint.get("conditions") or {}).get("ready", True)]

    @property
    def failure_policies(self) -> str:
        """What a finding says of its failurePolicy."""
        return f"failurePolicy {', '.join(sorted({str(entry.get('failurePolicy')) for entry in self.webhooks}))}"

    @property
    def manages_certificates(self) -> bool:
        """Whether its server creates its certificates and writes the caBundle, by its Deployment's flags."""
        return bool(self.deployment) and "--disable-cert-rotation" not in " ".join(arguments(self.deployment or {}))

    def watches(self, namespace_labels: Mapping[str, str], pod_labels: Mapping[str, str]) -> bool:
        """Whether the API server would send it such a pod."""
        return any(
            matches(webhook.get("namespaceSelector"), namespace_labels)
            and matches(webhook.get("objectSelector"), pod_labels)
            for webhook in self.webhooks
        )


def is_workload_identity(configuration: JsonObject) -> bool:
    """Whether a MutatingWebhookConfiguration is of Azure Workload Identity: this project's, v1.6.0's or AKS's."""
    labels = configuration["metadata"].get("labels") or {}
    if any(labels.get(key) == value for key, value in _LABELS.items()):
        return True
    return any(map(_is_workload_identity_entry, configuration.get("webhooks") or ()))


def _is_workload_identity_entry(webhook: JsonObject) -> bool:
    if str(webhook.get("name", "")).endswith(WEBHOOK_NAME):
        return True
    # Others have that path too: it is what kubebuilder's book calls it.
    path = ((webhook.get("clientConfig") or {}).get("service") or {}).get("path")
    selectors = json.dumps([webhook.get("objectSelector"), webhook.get("namespaceSelector")])
    return path in _PATHS and names.USE_LABEL in selectors


def release_of(manifest: JsonObject) -> str:
    """The Helm release that an object belongs to, empty where it is of none."""
    return release(manifest)[0]


def timestamp(text: object) -> datetime | None:
    """A time as the API writes it."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def arguments(deployment: JsonObject) -> list[str]:
    """The command line of a Deployment's first container."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return [*(container.get("command") or ()), *(container.get("args") or ())]


@dataclass(frozen=True, slots=True)
class LiveWorkload:
    """What makes pods, with its pods and what the webhook would do with them when they are created now.

    `manifest` is the topmost object that is known and has the pod's template; `owner` is that object, or what owns it
    and is of another kind, such as an Argo Rollout, of which only the name is known. `limit_problems` is why the API
    server would then refuse them.
    """

    manifest: JsonObject = field(repr=False)
    pods: Sequence[JsonObject] = field(repr=False)
    outcome: AdmissionOutcome
    owner: JsonObject = field(repr=False)
    limit_problems: Sequence[LimitProblem] = ()

    @property
    def kind(self) -> str:
        """Its kind."""
        return str(self.owner["kind"])

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.manifest["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.owner["metadata"]["name"])

    @property
    def subject(self) -> str:
        """What a finding calls it."""
        return f"{self.kind} {self.namespace}/{self.name}"

    @property
    def pod(self) -> JsonObject:
        """The pod that it makes: metadata and spec."""
        pod = self.manifest
        for part in POD_PATHS[self.manifest["kind"]]:
            pod = pod[part]
        return pod

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of its pods."""
        return (self.pod.get("metadata") or {}).get("labels") or {}

    @property
    def annotations(self) -> Mapping[str, str]:
        """The annotations of its pods."""
        return (self.pod.get("metadata") or {}).get("annotations") or {}

    @property
    def service_account(self) -> str:
        """The name of its pods' ServiceAccount."""
        spec = self.pod.get("spec") or {}
        return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")

    @property
    def pod_names(self) -> list[str]:
        """The names of its pods."""
        return [pod["metadata"]["name"] for pod in self.pods]


@dataclass(frozen=True, slots=True)
class Probe:
    """The creation of a labelled pod in a dry run: what the API server made of it, or why it refused."""

    namespace: str
    injected: bool = False
    failure: str = ""


@dataclass(frozen=True, slots=True)
class HeldCredentials:
    """The federated credentials of one client id; `flags` identify their holder to azwi, None: it does not exist."""

    client_id: str
    label: str = ""
    flags: tuple[str, ...] | None = None
    credentials: Sequence[FederatedCredential] = ()


@dataclass(frozen=True, slots=True)
class StoredMapping:
    """The ConfigMap of the identity mapping.

    `faults` are the entries that cannot be used; `broken` says why there is no mapping at all, `there` whether there is
    a ConfigMap (None: it is not shown); `release` is the Helm release that writes it, if one does.
    """

    namespace: str
    name: str
    there: bool | None = True
    broken: str = ""
    faults: Sequence[str] = ()
    release: str = ""

    @property
    def subject(self) -> str:
        """What a finding calls it."""
        return f"ConfigMap {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class BindingGrant:
    """A ClusterRoleBinding by which ServiceAccounts may use identities; `client_ids` are those of its ClusterRole."""

    manifest: JsonObject = field(repr=False)
    client_ids: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.manifest["metadata"]["name"])

    @property
    def subjects(self) -> Sequence[JsonObject]:
        """Whom it is for."""
        return self.manifest.get("subjects") or ()


@dataclass(frozen=True, slots=True)
class ResolvedIdentity:
    """The identity of a ServiceAccount, by its annotations or by an entry of the mapping."""

    client_id: str
    tenant_id: str
    entry: MappingEntry | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that the checks know. None is what could not be read; `unreadable` says why.

    `accounts_of` is the namespace of which all accounts were read, empty for every namespace; `binding_allowed` is
    whether accounts of pods with an identity binding may use their identity; `image_audiences` are the audiences for
    which nodes may request tokens of accounts that images are pulled with.
    """

    now: datetime
    commands: CommandBuilder = field(default_factory=CommandBuilder)
    tenant: str = ""
    server_clock: ClockReading | None = None
    azure_clock: ClockReading | None = None
    issuer: str = ""
    policy: Policy | None = None
    has_token_proxy: bool | None = None
    binding_allowed: Mapping[tuple[str, str], bool] = field(default_factory=dict)
    binding_grants: Sequence[BindingGrant] = ()
    image_audiences: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    kubelets: Mapping[str, str] = field(default_factory=dict)
    mapping: StoredMapping | None = None
    installations: Sequence[Installation] | None = None
    engine: PolicyEngine | None = None
    namespaces: Mapping[str, JsonObject] = field(default_factory=dict)
    accounts: Mapping[tuple[str, str], JsonObject] = field(default_factory=dict)
    accounts_of: str | None = None
    workloads: Sequence[LiveWorkload] = ()
    network_policies: Sequence[JsonObject] = ()
    limit_ranges: Sequence[JsonObject] = ()
    quotas: Sequence[JsonObject] = ()
    probe: Probe | None = None
    held: Mapping[str, HeldCredentials] | None = None
    unreadable: Sequence[Unreadable] = ()

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        """The labels of a namespace, None where they could not be read."""
        found = self.namespaces.get(name)
        return None if found is None else found["metadata"].get("labels") or {}

    def account(self, namespace: str, name: str) -> Account | None:
        """What the webhook needs of a ServiceAccount, if it is there."""
        found = self.accounts.get((namespace, name))
        return None if found is None else Account.from_metadata(found["metadata"])

    def identity(self, namespace: str, name: str) -> ResolvedIdentity | None:
        """The identity that a ServiceAccount has, if it is there and has one."""
        account = self.account(namespace, name)
        if account is None or self.policy is None:
            return None
        mapped = self.policy.mapping.find(namespace, name)
        client, tenant = ids(account, mapped, self.policy.identity.tenant_id)
        return ResolvedIdentity(client, tenant, None if account.client_id else mapped) if client else None

    def identities(self) -> Mapping[tuple[str, str], ResolvedIdentity]:
        """The identities that tokens are exchanged for.

        An entry with a pattern matches accounts that no pod uses, such as `default`; it says nothing of those.
        """
        used = {(workload.namespace, workload.service_account) for workload in self.mutated()}
        named = {key: self.identity(*key) for key in self.accounts}
        return {
            key: identity
            for key, identity in named.items()
            if identity is not None and (identity.entry is None or identity.entry.is_exact or key in used)
        }

    def knows_absent(self, namespace: str, name: str) -> bool:
        """Whether an account is certainly not there, since all of its namespace were read."""
        return self.accounts_of in ("", namespace) and (namespace, name) not in self.accounts

    def mutated(self) -> Iterator[LiveWorkload]:
        """The workloads whose pods the webhook gives an identity."""
        return (workload for workload in self.workloads if workload.outcome.decision is Decision.MUTATE)

    @property
    def binding_key(self) -> str:
        """The annotation by which pods ask for an identity binding."""
        endpoint = self.policy.custom_endpoint if self.policy else None
        return endpoint.annotation if endpoint else names.USE_BINDING

    def is_bound(self, workload: LiveWorkload) -> bool:
        """Whether the pods of a workload ask for an identity binding."""
        return values.boolean(workload.annotations.get(self.binding_key, "")) is True

    def bound(self) -> Iterator[LiveWorkload]:
        """The workloads with an identity whose pods ask for an identity binding."""
        return filter(self.is_bound, self.mutated())

    def audiences(self, workload: LiveWorkload) -> tuple[str, str]:
        """The audiences of the tokens that the webhook gives its pods: the first, and the second or an empty one."""
        if self.policy is None:
            return names.DEFAULT_AUDIENCE, ""
        first = self.policy.audience
        if self.has_token_proxy is not False and self.is_bound(workload):
            endpoint = self.policy.custom_endpoint
            first = endpoint.audience if endpoint else names.BINDING_AUDIENCE
        second = workload.annotations.get(names.SECOND_AUDIENCE, self.policy.second_audience)
        return first, "" if second == first else second

    def only_bound(self) -> frozenset[tuple[str, str]]:
        """The accounts all of whose pods use the binding: no federated credential has their own subject."""
        bound = {(workload.namespace, workload.service_account) for workload in self.bound()}
        direct = {
            (workload.namespace, workload.service_account)
            for workload in self.mutated()
            if not self.is_bound(workload) or names.SECOND_AUDIENCE in workload.annotations
        }
        return frozenset(bound - direct) if self.has_token_proxy is not False else frozenset()
