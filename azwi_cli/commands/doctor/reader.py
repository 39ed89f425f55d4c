"""Reads a cluster for the doctor, in bounded lists; what may not be read is recorded instead of failing."""

# ruff: noqa: PLC0415  few installations have an identity mapping

# ruff: noqa: PLC0415  few installations have an identity mapping

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli import clock_skew
from azwi_cli.clock_skew import ClockReading
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError, Cluster
from azwi_cli.commands.doctor import settings
from azwi_cli.commands.doctor.findings import Area, Unreadable
from azwi_cli.commands.doctor.fixes import CommandBuilder
from azwi_cli.commands.doctor.selectors import matches
from azwi_cli.commands.doctor.snapshot import (
    Installation,
    LiveWorkload,
    Probe,
    Snapshot,
    StoredMapping,
    arguments,
    is_workload_identity,
    release_of,
)
from azwi_cli.console.errors import CommandError, UnreachableError
from azwi_cli.issuer.discovery import CONFIGURATION_PATH
from azwi_cli.offline import admissions, owners
from azwi_cli.offline.admissions import AdmissionContext
from webhook.admission.identity import Account, IdentityMapping
from webhook.admission.policy import Policy

MAX_OBJECTS: Final = 20_000
SERVER_PROGRAM: Final = "azwi-webhook"
ANONYMOUS: Final = "system:anonymous"
MAX_WORKLOADS: Final = 5_000
CERT_MANAGER: Final = "cert-manager.io/certificate-name"
CERTIFICATES: Final = ("ca.crt", "tls.crt")
SMALL: Final[Mapping[str, str]] = {"cpu": "1m", "memory": "1Mi"}
# Admitted by every Pod Security level; its resources are the least that the namespace admits.
PROBE_CONTAINER: Final[Mapping[str, Any]] = {
    "name": "probe",
    "image": "azwi-doctor.invalid/probe",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
_ADMISSION: Final = "admissionregistration.k8s.io/v1"
_NOT_FOUND: Final = 404
# 401 ends it all: nothing can be read without a login.
_UNAUTHORIZED: Final = 401
_NOT_ALLOWED: Final = frozenset({403, 405})
_FINISHED: Final = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class Scope:
    """What is looked at; empty is everything."""

    namespace: str = ""
    pod: str = ""
    service_account: str = ""


@dataclass
class Reader:
    """A connection that records what may not be read; `on_step` is called with a description of each step."""

    cluster: Cluster
    on_step: Callable[[str], None] = lambda _: None
    unreadable: list[Unreadable] = field(default_factory=list)

    def find(self, area: Area, what: str, path: str) -> JsonObject | None:
        """One object, {} when there is none, None when it may not be read."""
        try:
            return self.cluster.get(path)
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return {}
            self._note(area, what, f"get {what}", error)
            return None

    def list(
        self, area: Area, what: str, path: str, *, labels: str = "", most: int = MAX_OBJECTS
    ) -> list[JsonObject] | None:
        """All objects, none where the kind is not there, None when they may not be listed."""
        self.on_step(f"reading {what}")
        try:
            found = list(islice(self.cluster.list(path, labels=labels), most + 1))
        except ApiError as error:
            if error.status == _NOT_FOUND:
                return []
            self._note(area, what, f"list {what}", error)
            return None
        if len(found) > most:
            self.unreadable.append(
                Unreadable(what, f"there are more than {most}", area, "a namespace to look at: --namespace")
            )
        return found[:most]

    def _note(self, area: Area, what: str, needed: str, error: ApiError) -> None:
        if error.status not in _NOT_ALLOWED:
            raise error
        self.unreadable.append(Unreadable(what, error.message, area, f"permission to {needed}"))


def read(
    cluster: Cluster, scope: Scope, commands: CommandBuilder, on_step: Callable[[str], None] = lambda _: None
) -> Snapshot:
    """Read what the checks need; Azure is read elsewhere.

    Raises:
        UnreachableError: when the API server does not answer, or does not accept the login.
        CommandError: when the pod or account of the scope is not there.
    """
    reader = Reader(cluster, on_step)
    server_clock = _server_clock(reader)
    installations = _installations(reader)
    policy, mapping = _policy(reader, installations or [])
    namespaces = _namespaces(reader, scope.namespace)
    stored = reader.list(Area.ACCOUNTS, "ServiceAccounts", kube.path("v1", "serviceaccounts", scope.namespace))
    complete = stored is not None and len(stored) < MAX_OBJECTS
    accounts = _by_key(stored or ())
    if complete:
        _check(scope, accounts)
    context = _admission_context(namespaces, accounts, policy, complete=complete)
    issuer = reader.find(Area.ISSUER, "the cluster's issuer", CONFIGURATION_PATH) or {}
    snapshot = Snapshot(
        now=server_clock.sent_at if server_clock else clock_skew.now(),
        commands=commands,
        server_clock=server_clock,
        issuer=str(issuer.get("issuer") or ""),
        policy=policy,
        mapping=mapping,
        installations=installations,
        namespaces=namespaces,
        accounts=accounts,
        accounts_of=scope.namespace if complete and not (scope.service_account or scope.pod) else None,
        workloads=_workloads(reader, scope, context),
        network_policies=_network_policies(reader, scope.namespace),
        limit_ranges=reader.list(Area.LIMITS, "LimitRanges", kube.path("v1", "limitranges", scope.namespace)) or (),
        quotas=reader.list(Area.LIMITS, "ResourceQuotas", kube.path("v1", "resourcequotas", scope.namespace)) or (),
    )
    if scope.service_account or scope.pod:
        wanted = {scope.service_account, *(workload.service_account for workload in snapshot.workloads)}
        snapshot = replace(snapshot, accounts={key: value for key, value in accounts.items() if key[1] in wanted})
    if installations != []:
        on_step("creating a pod in a dry run")
        namespace = _probed(snapshot, cluster.namespace)
        known = installations is not None
        probe = _probe(reader, namespace, policy, snapshot.limit_ranges, configurations_known=known)
        snapshot = replace(snapshot, probe=probe)
    return replace(snapshot, unreadable=tuple(reader.unreadable))


def _installations(reader: Reader) -> Sequence[Installation] | None:
    """The installed webhooks of this kind, or None when configurations cannot be read."""
    found = reader.list(Area.WEBHOOKS, "webhook configurations", kube.path(_ADMISSION, "mutatingwebhookconfigurations"))
    if found is None:
        return None
    return [_installation(reader, configuration) for configuration in found if is_workload_identity(configuration)]


def _network_policies(reader: Reader, namespace: str) -> Sequence[JsonObject]:
    path = kube.path("networking.k8s.io/v1", "networkpolicies", namespace)
    return reader.list(Area.POLICIES, "NetworkPolicies", path) or ()


def _check(scope: Scope, accounts: Mapping[tuple[str, str], JsonObject]) -> None:
    named = (scope.namespace, scope.service_account)
    if scope.service_account and named not in accounts:
        raise CommandError(
            f"there is no ServiceAccount {scope.service_account} in namespace {scope.namespace}",
            "is --namespace the right one? kubectl get serviceaccounts --all-namespaces shows all",
        )


def _server_clock(reader: Reader) -> ClockReading | None:
    """The API server's clock, by an object that is not stored; its answer shows, too, that the login is accepted."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    asked = clock_skew.now()
    try:
        answer = reader.cluster.create(kube.path("authentication.k8s.io/v1", "selfsubjectreviews"), review)
    except ApiError as error:
        if error.status == _UNAUTHORIZED:
            raise UnreachableError(
                "the API server does not accept your login (401 Unauthorized)", error.hint
            ) from error
        reader.unreadable.append(Unreadable("the API server's clock", error.message, Area.CLOCK))
        return None
    _refuse_anonymous(answer)
    shown = timestamp((answer.get("metadata") or {}).get("creationTimestamp"))
    return ClockReading(shown, asked, clock_skew.now()) if shown else None


def _refuse_anonymous(review: JsonObject) -> None:
    user = ((review.get("status") or {}).get("userInfo") or {}).get("username")
    if user == ANONYMOUS:
        raise UnreachableError(
            f"the API server takes you for {ANONYMOUS}: your kubeconfig has no login that it accepts",
            "log in to the cluster again; for AKS: az aks get-credentials",
        )


def timestamp(text: object) -> datetime | None:
    """A time as the API writes it."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def _installation(reader: Reader, configuration: JsonObject) -> Installation:
    installation = Installation(configuration)
    namespace, name = installation.service_key
    if not name:
        return installation
    service = reader.find(Area.SERVER, f"Service {namespace}/{name}", kube.path("v1", "services", namespace, name))
    slices = reader.list(
        Area.SERVER,
        f"EndpointSlices of {namespace}/{name}",
        kube.path("discovery.k8s.io/v1", "endpointslices", namespace),
        labels=f"kubernetes.io/service-name={name}",
    )
    deployments = reader.list(
        Area.SERVER, f"Deployments of {namespace}", kube.path("apps/v1", "deployments", namespace)
    )
    deployment = None if deployments is None else _behind(service or {}, deployments, release_of(configuration))
    found = Installation(configuration, service, slices, deployment)
    return _with_certificates(reader, namespace, found)


def _behind(service: JsonObject, deployments: Sequence[JsonObject], release: str) -> JsonObject:
    """The Deployment whose pods a Service has; without the Service, that of the same Helm release, or the server's."""
    selector = (service.get("spec") or {}).get("selector")
    for deployment in deployments:
        labels = deployment["spec"]["template"]["metadata"].get("labels") or {}
        if selector and matches({"matchLabels": selector}, labels):
            return deployment
    if service:
        return {}
    for deployment in deployments:
        of_release = release and release_of(deployment) == release
        if of_release or SERVER_PROGRAM in arguments(deployment):
            return deployment
    return {}


def _with_certificates(reader: Reader, namespace: str, found: Installation) -> Installation:
    """The same with the Secret of the served certificate; its key is dropped at once."""
    deployment = found.deployment or {}
    mounted = [
        volume["secret"]["secretName"]
        for volume in (deployment["spec"]["template"]["spec"].get("volumes") or () if deployment else ())
        if "secret" in volume
    ]
    named = settings.flag(arguments(deployment), "cert-secret") if deployment else ""
    for name in dict.fromkeys(filter(None, [named, *mounted, names.CERT_SECRET])):
        secret = reader.find(Area.SECRET, f"Secret {namespace}/{name}", kube.path("v1", "secrets", namespace, name))
        if secret is None:
            return replace(found, secret_name=name)
        data = secret.get("data") or {}
        if "tls.crt" in data:
            certificates = {key: _decoded(data[key]) for key in CERTIFICATES if data.get(key)}
            issued = CERT_MANAGER in (secret["metadata"].get("annotations") or {})
            return replace(found, secret_name=name, certificates=certificates, by_cert_manager=issued)
    return replace(found, secret_name=named or names.CERT_SECRET, certificates={})


def _decoded(text: str) -> bytes:
    try:
        return b64decode(text)
    except binascii.Error:
        return b""


def _policy(reader: Reader, installations: Sequence[Installation]) -> tuple[Policy, StoredMapping | None]:
    """What the webhook was set up with; that of the first Deployment that is found, else the defaults."""
    installation = next((installation for installation in installations if installation.deployment), None)
    if installation is None or not installation.deployment:
        return settings.default(), None
    container = installation.deployment["spec"]["template"]["spec"]["containers"][0]
    environ = {variable["name"]: variable["value"] for variable in container.get("env") or () if variable.get("value")}
    line = arguments(installation.deployment)
    namespace, _ = installation.service_key
    for source in container.get("envFrom") or ():
        environ = {**_config_map(reader, namespace, (source.get("configMapRef") or {}).get("name", "")), **environ}
    mapping, stored = IdentityMapping(), None
    if config_map := settings.flag(line, "identity-mapping-configmap"):
        mapping, stored = _mapping(reader, namespace, config_map)
    elif file := settings.flag(line, "identity-mapping"):
        reader.unreadable.append(
            Unreadable("the identity mapping", f"it is in {file} of the server's pods", Area.MAPPING)
        )
        stored = StoredMapping(namespace, file, there=None)
    return settings.policy(line, environ, mapping), stored


def _config_map(reader: Reader, namespace: str, name: str) -> Mapping[str, str]:
    if not name:
        return {}
    found = reader.find(Area.MAPPING, f"ConfigMap {namespace}/{name}", kube.path("v1", "configmaps", namespace, name))
    return (found or {}).get("data") or {}


def _mapping(reader: Reader, namespace: str, name: str) -> tuple[IdentityMapping, StoredMapping]:
    """The valid entries, and the state of their ConfigMap."""
    from webhook.config import identity_mapping

    found = reader.find(Area.MAPPING, f"ConfigMap {namespace}/{name}", kube.path("v1", "configmaps", namespace, name))
    if not found:
        return IdentityMapping(), StoredMapping(namespace, name, there=None if found is None else False)
    stored = StoredMapping(namespace, name, release=release_of(found))
    try:
        parsed = identity_mapping.parse_configmap(found.get("data"))
    except ValueError as error:
        return IdentityMapping(), replace(stored, broken=str(error))
    return IdentityMapping(parsed.entries), replace(stored, faults=parsed.faults)


def _namespaces(reader: Reader, namespace: str) -> Mapping[str, JsonObject]:
    if not namespace:
        found = reader.list(Area.NAMESPACES, "namespaces", kube.path("v1", "namespaces"))
        return {namespace_object["metadata"]["name"]: namespace_object for namespace_object in found or ()}
    one = reader.find(Area.NAMESPACES, f"namespace {namespace}", kube.path("v1", "namespaces", name=namespace))
    if one == {}:
        raise CommandError(f"there is no namespace {namespace}", "kubectl get namespaces shows all")
    return {namespace: one} if one else {}


def _by_key(manifests: Iterable[JsonObject]) -> Mapping[tuple[str, str], JsonObject]:
    return {(manifest["metadata"]["namespace"], manifest["metadata"]["name"]): manifest for manifest in manifests}


def _workloads(reader: Reader, scope: Scope, context: AdmissionContext) -> Sequence[LiveWorkload]:
    makers = [
        manifest
        for api_version, plurals in owners.KINDS.items()
        for plural in plurals
        for manifest in reader.list(
            Area.WORKLOADS, plural, kube.path(api_version, plural, scope.namespace), most=MAX_WORKLOADS
        )
        or ()
    ]
    pods = reader.list(Area.WORKLOADS, "pods", kube.path("v1", "pods", scope.namespace))
    if scope.pod:
        pods = [pod for pod in pods or () if pod["metadata"]["name"] == scope.pod]
        if not pods:
            raise CommandError(
                f"there is no pod {scope.pod} in namespace {scope.namespace}", "kubectl get pods shows what is there"
            )
    by_uid = {owner["metadata"]["uid"]: owner for owner in makers}
    grouped: dict[str, tuple[JsonObject, JsonObject, list[JsonObject]]] = {}
    for manifest in (*([] if scope.pod else makers), *filter(_is_running, pods or ())):
        top, unknown_owner = owners.topmost(manifest, by_uid)
        owner = _named(unknown_owner) if unknown_owner else top
        *_, mine = grouped.setdefault(top["metadata"]["uid"], (top, owner, []))
        if manifest["kind"] == "Pod":
            mine.append(manifest)
    found = (
        LiveWorkload(top, mine, admissions.mutate(top, context).admissions[0].outcome, owner)
        for top, owner, mine in grouped.values()
        if mine or not owners.is_finished(top)
    )
    return sorted(
        (workload for workload in found if scope.service_account in ("", workload.service_account)),
        key=lambda workload: (workload.namespace, workload.kind, workload.name),
    )


def _is_running(pod: JsonObject) -> bool:
    ended = (pod.get("status") or {}).get("phase") in _FINISHED
    return not ended and not pod["metadata"].get("deletionTimestamp")


def _named(unknown_owner: owners.UnknownOwner) -> JsonObject:
    """All that is known of an owner of another kind."""
    metadata = {"namespace": unknown_owner.namespace, "name": unknown_owner.name}
    return {"apiVersion": unknown_owner.api_version, "kind": unknown_owner.kind, "metadata": metadata}


def _admission_context(
    namespaces: Mapping[str, JsonObject],
    accounts: Mapping[tuple[str, str], JsonObject],
    policy: Policy,
    *,
    complete: bool,
) -> AdmissionContext:
    """What the webhook would see: what is in the cluster now. Accounts that were not read may be there."""

    async def find(namespace: str, name: str) -> Account | None:
        stored = accounts.get((namespace, name))
        if stored is None:
            return None if complete else Account()
        return Account.from_metadata(stored["metadata"])

    def labelled(name: str) -> bool:
        labels = (namespaces.get(name) or {"metadata": {}})["metadata"].get("labels") or {}
        return labels.get(names.USE_LABEL) == "true"

    return AdmissionContext(find, labelled, policy)


def _probed(snapshot: Snapshot, default: str) -> tuple[str, str]:
    """In which namespace, and as which account, a pod is tried: where one takes part already, if any does."""
    if workload := next(snapshot.mutated(), None):
        return workload.namespace, workload.service_account
    if key := next(iter(snapshot.accounts), None):
        return next((account for account in snapshot.accounts if account[0] == default), key)
    return default, "default"


def _needed(error: ApiError, namespace: str) -> str:
    denied = "cannot create resource" in error.message
    return f"permission to create pods in {namespace}" if denied else "a namespace that admits a small pod"


def _least_resources(ranges: Sequence[JsonObject], namespace: str) -> JsonObject:
    """Small for every quota, and not below what a LimitRange demands."""
    least = dict(SMALL)
    for found in ranges:
        for item in found["spec"].get("limits") or ():
            if found["metadata"]["namespace"] == namespace and item.get("type") in {"Container", "Pod"}:
                wanted = item.get("min") or {}
                least |= {name: wanted[name] for name in SMALL if name in wanted}
    return {"requests": least, "limits": least}


def _probe(
    reader: Reader,
    where: tuple[str, str],
    policy: Policy,
    ranges: Sequence[JsonObject],
    *,
    configurations_known: bool,
) -> Probe | None:
    """Create a labelled pod in a dry run."""
    namespace, account = where
    if not settings.takes_labels(policy):
        reader.unreadable.append(
            Unreadable("the call of the webhook", "labelled pods do not take part (--opt-in)", Area.CALL)
        )
        return None
    pod = {
        "metadata": {"generateName": "azwi-doctor-", "labels": {names.USE_LABEL: "true"}},
        "spec": {
            "serviceAccountName": account,
            "restartPolicy": "Never",
            "containers": [{**PROBE_CONTAINER, "resources": _least_resources(ranges, namespace)}],
        },
    }
    try:
        stored = reader.cluster.create(kube.path("v1", "pods", namespace), pod, dry_run=True)
    except ApiError as error:
        if "failed calling webhook" in error.message:
            return Probe(namespace, failure=error.message.removeprefix("the API server answered: "))
        if names.PREFIX in error.message or "workload-identity" in error.message:
            return None  # it answered; the check of the account reports the refusal
        reader.unreadable.append(
            Unreadable("the call of the webhook", error.message, Area.CALL, _needed(error, namespace))
        )
        return None
    volumes = stored["spec"].get("volumes") or ()
    if not any(volume["name"] == names.VOLUME for volume in volumes) and not configurations_known:
        why = f"a labelled pod in namespace {namespace} got no identity, and the webhook configurations cannot be read"
        reader.unreadable.append(Unreadable("the call of the webhook", why, Area.CALL, "the permission above"))
        return None
    return Probe(namespace, injected=any(volume["name"] == names.VOLUME for volume in volumes))
