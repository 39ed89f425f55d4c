"""The administrator's settings as admission reads them: one value, built at start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from azure_workload_identity import names
from webhook.admission.identity import Defaults, IdentityMapping


class OptIn(StrEnum):
    """Ways in which a pod can take part."""

    POD_LABEL = "pod-label"
    NAMESPACE_LABEL = "namespace-label"
    SERVICE_ACCOUNT = "service-account"


@dataclass(frozen=True, slots=True)
class TrustBundle:
    """A ClusterTrustBundle by signer; `label_selector` is a LabelSelector as the API has it."""

    signer_name: str
    label_selector: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class CustomEndpoint:
    """The endpoint at which annotated pods exchange their tokens (AKS identity bindings), and its CA.

    At most one of `ca_data` (PEM), `ca_configmap` (a name in the pod's namespace) and `ca_bundle` is set.
    """

    annotation: str
    audience: str
    url: str
    sni_name: str = ""
    ca_data: str = ""
    ca_configmap: str = ""
    ca_bundle: TrustBundle | None = None

    @property
    def has_ca_file(self) -> bool:
        """Whether the CA is a file in the volume."""
        return bool(self.ca_configmap) or self.ca_bundle is not None


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests and limits of a proxy container, as Kubernetes quantities; an empty one is left out.

    Measured memory: 24 MiB at rest, at most 29; v1.6.0's proxy 29 and 34.
    """

    cpu_request: str = "10m"
    memory_request: str = "32Mi"
    cpu_limit: str = "500m"
    memory_limit: str = "64Mi"


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The proxy that is injected on request.

    `init_image` is an image whose entrypoint writes the redirect rules for PROXY_PORT, as v1.6.0's does; when it is
    empty, `image` writes them itself. `native` makes the proxy an init container that is always restarted (Kubernetes
    1.29 and newer). `https_proxy` and `no_proxy` are variables of the sidecar, `ca_configmap` names a ConfigMap in the
    pod's namespace whose certificates it also trusts, `pass_through` lists the IMDS paths, comma-separated, that it
    forwards to the node's IMDS. `assigned_uid` leaves the sidecar's uid to the cluster, as OpenShift requires, unless
    redirect rules depend on it.
    """

    image: str
    init_image: str = ""
    native: bool = True
    log_level: str = "info"
    https_proxy: str = ""
    no_proxy: str = ""
    ca_configmap: str = ""
    pass_through: str = ""
    assigned_uid: bool = False
    resources: Resources = field(default_factory=Resources)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that `admit` needs besides the pod and its account.

    `second_audience` is the audience of the second token of pods that do not set one, empty for none.
    """

    identity: Defaults
    authority_host: str
    proxy: ProxySettings
    audience: str = names.DEFAULT_AUDIENCE
    second_audience: str = ""
    opt_in: frozenset[OptIn] = frozenset({OptIn.POD_LABEL})
    mapping: IdentityMapping = field(default_factory=IdentityMapping)
    custom_endpoint: CustomEndpoint | None = None
