"""aad-pod-identity's custom resources: which pods have which identity.

Rules: https://azure.github.io/aad-pod-identity/docs/ (concepts, and "match pods in namespace").
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from azure_workload_identity.types import JsonObject

API_VERSION: Final = "aadpodidentity.k8s.io/v1"
IDENTITIES: Final = "azureidentities"
BINDINGS: Final = "azureidentitybindings"
EXCEPTIONS: Final = "azurepodidentityexceptions"
POD_LABEL: Final = "aadpodidbinding"
BEHAVIOR: Final = "aadpodidentity.k8s.io/Behavior"
NAMESPACED: Final = "namespaced"
USER_ASSIGNED: Final = 0


@dataclass(frozen=True, slots=True)
class AzureIdentity:
    """An AzureIdentity; `kind` is 0 for a managed identity, 1 and 2 for an application with a secret or certificate."""

    namespace: str
    name: str
    kind: int
    client_id: str
    resource_id: str
    tenant_id: str
    namespaced: bool

    @classmethod
    def parse(cls, manifest: JsonObject) -> "AzureIdentity":
        """From the API server's object; what is not there is empty."""
        metadata, spec = manifest["metadata"], manifest.get("spec") or {}
        behavior = (metadata.get("annotations") or {}).get(BEHAVIOR, "")
        return cls(
            namespace=metadata["namespace"],
            name=metadata["name"],
            kind=kind if isinstance(kind := spec.get("type"), int) else USER_ASSIGNED,
            client_id=str(spec.get("clientID") or "").strip(),
            resource_id=str(spec.get("resourceID") or "").strip(),
            tenant_id=str(spec.get("tenantID") or "").strip(),
            namespaced=behavior.lower() == NAMESPACED,
        )

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class AzureIdentityBinding:
    """An AzureIdentityBinding with its identity: pods whose POD_LABEL is `selector` have it."""

    namespace: str
    name: str
    selector: str
    identity: AzureIdentity

    def matches(self, namespace: str, selector: str, *, force_namespaced: bool) -> bool:
        """Whether pods of that namespace and label have the identity."""
        here = self.namespace == namespace
        return self.selector == selector and (here or not (self.identity.namespaced or force_namespaced))


@dataclass(frozen=True, slots=True)
class BrokenBinding:
    """A binding that has no effect, and why."""

    namespace: str
    name: str
    why: str


def parse_bindings(
    identities: Iterable[JsonObject], bindings: Iterable[JsonObject]
) -> tuple[list[AzureIdentityBinding], list[BrokenBinding]]:
    """The bindings in a fixed order (namespace, name), and those that are broken."""
    known = {(identity.namespace, identity.name): identity for identity in map(AzureIdentity.parse, identities)}
    good: list[AzureIdentityBinding] = []
    broken: list[BrokenBinding] = []
    for manifest in sorted(
        bindings, key=lambda binding: (binding["metadata"]["namespace"], binding["metadata"]["name"])
    ):
        metadata, spec = manifest["metadata"], manifest.get("spec") or {}
        namespace, name = metadata["namespace"], metadata["name"]
        wanted, selector = str(spec.get("azureIdentity") or ""), str(spec.get("selector") or "")
        identity = known.get((namespace, wanted))
        if why := _fault(selector, wanted, identity):
            broken.append(BrokenBinding(namespace, name, why))
        elif identity is not None:
            good.append(AzureIdentityBinding(namespace, name, selector, identity))
    return good, broken


def _fault(selector: str, wanted: str, identity: AzureIdentity | None) -> str:
    if not selector:
        return "it has no selector"
    if not wanted:
        return "it names no AzureIdentity"
    if identity is None:
        return f"there is no AzureIdentity {wanted} in its namespace"
    return "" if identity.client_id else f"AzureIdentity {wanted} has no clientID"


def exempt(exceptions: Iterable[JsonObject], namespace: str, labels: Mapping[str, str]) -> Iterator[str]:
    """The AzurePodIdentityExceptions by which such pods are not served at all."""
    for manifest in exceptions:
        wanted = (manifest.get("spec") or {}).get("podLabels") or {}
        if manifest["metadata"]["namespace"] == namespace and wanted.items() <= labels.items() and wanted:
            yield str(manifest["metadata"]["name"])
