"""The server's settings: from flags and environment variables, validated before anything starts.

Names and defaults are v1.6.0's where it has the setting. A field declares its flag, variable and help once; the command
line and the documentation are made from that.
"""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    field_validator,
    model_validator,
)

from azure_workload_identity import names
from azure_workload_identity.durations import seconds
from azure_workload_identity.logs import LEVELS
from azure_workload_identity.types import JsonObject
from webhook.admission import values
from webhook.admission.policy import OptIn
from webhook.admission.proxy import MAX_PORT
from webhook.config.cipher_suites import openssl_suites

TLS_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PROXY_IMAGE: Final = "mcr.microsoft.com/oss/azure/workload-identity/proxy:v1.6.0"
PROXY_INIT_IMAGE: Final = "mcr.microsoft.com/oss/azure/workload-identity/proxy-init:v1.6.0"
# The part of an annotation's key after the slash, https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
_KEY_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
# https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
_OBJECT_NAME: Final = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?", re.ASCII)  # empty: none is named
_V160_PROXY: Final = re.compile(r"azure/workload-identity/proxy(?=[:@]|$)")
_HTTP_PROXY: Final = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?/?", re.ASCII)
_NO_PROXY: Final = re.compile(r"[A-Za-z0-9.*:/\[\]_-]+", re.ASCII)
# The paths that the proxy accepts, with the characters of file names; paths below `identity` never go to the node.
_IMDS_PATH: Final = re.compile(r"/metadata(?!/identity(/|$))(/[a-z0-9_~-][a-z0-9._~-]*)+/?", re.ASCII | re.IGNORECASE)
# A CA is replaced with a third of its life left, so what it signs must be shorter-lived.
LIFETIMES: Final = 2


@dataclass(frozen=True, slots=True)
class Source:
    """The flag and the environment variable of a setting (the flag wins), and its help."""

    help: str
    flag: str = ""
    env: str = ""

    @property
    def name(self) -> str:
        """The setting's name in messages."""
        return f"--{self.flag}" if self.flag else self.env


@dataclass(frozen=True, slots=True)
class Address:
    """A listener's host (empty: all interfaces) and port."""

    host: str
    port: int


def _address(text: object) -> object:
    if not isinstance(text, str):
        return text
    if text == "0":
        return None
    host, colon, port = text.rpartition(":")
    number = values.integer(port)
    if not colon or number is None or number > MAX_PORT:
        raise ValueError('must be ":PORT", "HOST:PORT", "[IPV6]:PORT", or "0" for no listener')
    return Address(host.strip("[]"), number)


Listener = Annotated[Address | None, BeforeValidator(_address)]


def _list(text: object) -> object:
    return [part.strip() for part in text.split(",") if part.strip()] if isinstance(text, str) else text


def _tls_version(text: object) -> object:
    # OpenShift's installer and Kubernetes' own programs use Go's names.
    return {"VersionTLS12": "1.2", "VersionTLS13": "1.3"}.get(text, text) if isinstance(text, str) else text


def _duration(text: object) -> object:
    return timedelta(seconds=float(seconds(text))) if isinstance(text, str) else text


def _like(pattern: re.Pattern[str], must_be: str) -> AfterValidator:
    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(f"must be {must_be}")
        return text

    return AfterValidator(check)


Duration = Annotated[timedelta, BeforeValidator(_duration)]
ObjectName = Annotated[str, _like(_OBJECT_NAME, "the name of an object: lower-case letters, digits, '-' and '.'")]
NoProxy = Annotated[str, _like(_NO_PROXY, "a domain, an address, a range such as 10.0.0.0/8, or *")]
ImdsPath = Annotated[
    str, _like(_IMDS_PATH, "a path below /metadata such as /metadata/instance, outside /metadata/identity")
]


class Settings(BaseModel):
    """All settings, in the order of the documentation."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    tenant_id: Annotated[str, Source("the tenant of pods whose account names none", env="AZURE_TENANT_ID")] = ""
    cloud: Annotated[
        str, Source("AzurePublicCloud, AzureUSGovernmentCloud or AzureChinaCloud", env="AZURE_ENVIRONMENT")
    ] = "AzurePublicCloud"
    authority_host: Annotated[
        str,
        Source("the login endpoint of a cloud that AZURE_ENVIRONMENT does not name", env="AZURE_AUTHORITY_HOST"),
    ] = ""
    audience: Annotated[str, Source("audience of the projected token", flag="audience")] = ""
    second_audience: Annotated[
        str,
        Source("audience of a second token, for pods whose first token has another one", flag="second-token-audience"),
    ] = ""
    token_expiration: Annotated[
        int,
        Source("seconds a token lives where nothing else says so", flag="service-account-token-expiration"),
        Field(ge=names.MIN_TOKEN_EXPIRATION, le=names.MAX_TOKEN_EXPIRATION),
    ] = names.DEFAULT_TOKEN_EXPIRATION
    opt_in: Annotated[
        frozenset[OptIn],
        BeforeValidator(_list),
        Source("comma list of what makes a pod take part: pod-label, namespace-label, service-account", flag="opt-in"),
    ] = frozenset({OptIn.POD_LABEL})
    identity_mapping: Annotated[
        Path | None, Source("YAML file that maps namespaces and accounts to identities", flag="identity-mapping")
    ] = None
    identity_mapping_configmap: Annotated[
        ObjectName,
        Source("ConfigMap beside the server whose key mapping.yaml is such a file", flag="identity-mapping-configmap"),
    ] = ""

    webhook_host: Annotated[str, Source("address of the webhook listener, empty for all", flag="webhook-host")] = ""
    webhook_port: Annotated[
        int,
        Source("port of the webhook listener", flag="webhook-port", env="WEBHOOK_PORT"),
        Field(ge=1, le=MAX_PORT),
    ] = names.WEBHOOK_PORT
    webhook_cert_dir: Annotated[Path, Source("directory with tls.crt and tls.key", flag="webhook-cert-dir")] = Path(
        "/certs"
    )
    disable_cert_rotation: Annotated[
        bool, Source("serve the certificate of --webhook-cert-dir as it is", flag="disable-cert-rotation")
    ] = False
    cert_secret: Annotated[
        ObjectName, Source("Secret beside the server that holds the certificates it makes", flag="cert-secret")
    ] = names.CERT_SECRET
    upstream_cert_secret: Annotated[
        ObjectName,
        Source(
            "Secret of v1.6.0's certificate rotator beside the server; its ca.crt is given the server's CA, "
            "so that servers stay trusted while a rollback to v1.6.0 replaces them",
            flag="upstream-cert-secret",
        ),
    ] = ""
    webhook_service: Annotated[
        ObjectName,
        Source("Service by which the API server calls, the name in its certificate", flag="webhook-service"),
    ] = names.WEBHOOK_SERVICE
    webhook_configurations: Annotated[
        tuple[ObjectName, ...],
        BeforeValidator(_list),
        Source(
            "comma list of the MutatingWebhookConfigurations whose caBundle is kept, or watched if it is another's",
            flag="webhook-configurations",
        ),
    ] = (names.WEBHOOK_CONFIGURATION,)
    ca_lifetime: Annotated[
        Duration,
        Source("how long a CA that the server makes is valid", flag="ca-lifetime"),
        Field(gt=timedelta(0)),
    ] = timedelta(days=365)
    cert_lifetime: Annotated[
        Duration,
        Source("how long a certificate that the server makes is valid", flag="cert-lifetime"),
        Field(gt=timedelta(0)),
    ] = timedelta(days=90)
    drain_period: Annotated[
        Duration,
        Source("how long new connections are answered after SIGTERM", flag="drain-period"),
        Field(ge=timedelta(0), le=timedelta(minutes=5)),
    ] = timedelta(seconds=10)
    tls_min_version: Annotated[
        str,
        BeforeValidator(_tls_version),
        Source("oldest TLS version: 1.3 or VersionTLS13, 1.2 or VersionTLS12", flag="tls-min-version"),
    ] = "1.3"
    tls_cipher_suites: Annotated[
        tuple[str, ...],
        BeforeValidator(_list),
        Source(
            "comma list of TLS 1.2 suites, by Go's or OpenSSL's names; empty for all with ECDHE and AEAD",
            flag="tls-cipher-suites",
        ),
    ] = ()
    client_ca_file: Annotated[
        Path | None,
        Source(
            "CA certificates (PEM) of the clients that may send reviews, read again when the file changes; unset: any",
            flag="client-ca-file",
        ),
    ] = None
    health_addr: Annotated[
        Listener, Source("address of /healthz and /readyz", flag="health-addr"), Field(validate_default=True)
    ] = names.HEALTH_ADDR  # type: ignore[assignment]  # validated as if it had been given
    metrics_addr: Annotated[
        Listener, Source("address of /metrics", flag="metrics-addr"), Field(validate_default=True)
    ] = names.METRICS_ADDR  # type: ignore[assignment]  # as above
    metrics_backend: Annotated[
        Literal["prometheus"], Source("how metrics are given: prometheus", flag="metrics-backend")
    ] = "prometheus"
    log_level: Annotated[str, Source('"" (warnings only), info, debug, trace or all', flag="log-level")] = "info"

    kubeconfig: Annotated[
        str, Source("kubeconfig of the cluster whose ServiceAccounts count", flag="kubeconfig", env="KUBECONFIG")
    ] = ""
    service_accounts: Annotated[
        Path | None,
        Source("file or directory of ServiceAccount manifests, instead of a cluster", flag="service-accounts"),
    ] = None
    pod_namespace: Annotated[ObjectName, Source("the namespace the server runs in", env="POD_NAMESPACE")] = (
        names.NAMESPACE
    )

    proxy_image: Annotated[str, Source("image of the injected proxy", env="PROXY_IMAGE")] = PROXY_IMAGE
    proxy_init_image: Annotated[
        str,
        Source(
            "image whose entrypoint writes the redirect rules; unset, a set PROXY_IMAGE does", env="PROXY_INIT_IMAGE"
        ),
    ] = ""
    native_sidecars: Annotated[
        Literal["auto", "always", "never"],
        Source("proxy as a native sidecar: auto (Kubernetes 1.29 and newer), always, never", flag="native-sidecars"),
    ] = "auto"
    proxy_cpu_request: Annotated[str, Source("CPU request of the proxy", flag="proxy-cpu-request")] = "10m"
    proxy_memory_request: Annotated[str, Source("memory request of the proxy", flag="proxy-memory-request")] = "32Mi"
    proxy_cpu_limit: Annotated[str, Source("CPU limit of the proxy", flag="proxy-cpu-limit")] = "500m"
    proxy_memory_limit: Annotated[str, Source("memory limit of the proxy", flag="proxy-memory-limit")] = "64Mi"
    proxy_https_proxy: Annotated[
        str,
        Source("HTTP proxy by which the proxy leaves the cluster, its HTTPS_PROXY", flag="proxy-https-proxy"),
    ] = ""
    proxy_no_proxy: Annotated[
        tuple[NoProxy, ...],
        BeforeValidator(_list),
        Source("comma list of the hosts and ranges that it reaches without, its NO_PROXY", flag="proxy-no-proxy"),
    ] = ()
    proxy_ca_configmap: Annotated[
        ObjectName,
        Source(
            "certificates the proxy trusts beside the system's, key ca.crt of this ConfigMap in the pod's namespace",
            flag="proxy-ca-configmap",
        ),
    ] = ""
    proxy_pass_through: Annotated[
        tuple[ImdsPath, ...],
        BeforeValidator(_list),
        Source("comma list of IMDS paths that the proxy leaves to the node's IMDS", flag="proxy-pass-through"),
    ] = ()

    proxy_uid: Annotated[
        Literal["fixed", "assigned"],
        Source(
            f"uid of the proxy: fixed ({names.PROXY_UID}), or in the mode environment assigned by the cluster",
            flag="proxy-uid",
        ),
    ] = "fixed"

    endpoint_suffix: Annotated[
        str,
        Source(
            f"pods with annotation {names.CUSTOM_ENDPOINT_PREFIX}SUFFIX use the custom token endpoint",
            flag="custom-token-endpoint-annotation-suffix",
        ),
    ] = ""
    endpoint_audience: Annotated[
        str, Source("audience of tokens for the custom token endpoint", flag="custom-token-endpoint-audience")
    ] = ""
    endpoint_url: Annotated[str, Source("URL of the custom token endpoint", env=names.ENV_TOKEN_PROXY)] = ""
    endpoint_sni_name: Annotated[
        str, Source("TLS server name of the custom token endpoint", env=names.ENV_TOKEN_PROXY_SNI)
    ] = ""
    endpoint_ca_data: Annotated[str, Source("its CA, as PEM", env=names.ENV_TOKEN_PROXY_CA_DATA)] = ""
    endpoint_ca_configmap: Annotated[
        str,
        Source(
            "its CA, as key ca.crt of this ConfigMap in the pod's namespace", env="AZURE_KUBERNETES_CA_CONFIGMAP_NAME"
        ),
    ] = ""
    endpoint_ca_signer: Annotated[
        str,
        Source("its CA, as the ClusterTrustBundles of this signer", env="AZURE_KUBERNETES_CA_CTB_SIGNER_NAME"),
    ] = ""
    endpoint_ca_selector: Annotated[
        Json[JsonObject] | None,
        Source("which of the signer's bundles, a LabelSelector as JSON", env="AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR"),
    ] = None

    @property
    def self_managed(self) -> bool:
        """Whether the server makes its own certificates and keeps them in the cluster."""
        return self.service_accounts is None and not self.disable_cert_rotation

    @field_validator("tenant_id")
    @classmethod
    def _check_tenant(cls, tenant_id: str) -> str:
        if not values.is_tenant(tenant_id):
            raise ValueError("must be the tenant's UUID or one of its domains")
        return tenant_id

    @field_validator("second_audience")
    @classmethod
    def _check_second_audience(cls, audience: str) -> str:
        if audience and not values.is_id(audience):
            raise ValueError("must be printable ASCII without blanks, at most 253 characters")
        return audience

    @field_validator("cloud")
    @classmethod
    def _check_cloud(cls, cloud: str) -> str:
        if cloud.lower() not in names.AUTHORITY_HOSTS:
            raise ValueError(
                "must be AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud or AzureGermanCloud; "
                "for another cloud set AZURE_AUTHORITY_HOST to its login endpoint"
            )
        return cloud

    @field_validator("authority_host", "endpoint_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment):
            raise ValueError("must be an https URL without user, query or fragment")
        return url

    @field_validator("tls_min_version")
    @classmethod
    def _check_tls(cls, version: str) -> str:
        if version not in TLS_VERSIONS:
            raise ValueError("must be 1.3 or 1.2; older versions are not spoken")
        return version

    @field_validator("tls_cipher_suites")
    @classmethod
    def _check_suites(cls, suites: tuple[str, ...]) -> tuple[str, ...]:
        openssl_suites(suites)
        return suites

    @field_validator("log_level")
    @classmethod
    def _check_level(cls, level: str) -> str:
        if level not in LEVELS:
            raise ValueError("must be empty, info, debug, trace or all")
        return level

    @field_validator("proxy_cpu_request", "proxy_memory_request", "proxy_cpu_limit", "proxy_memory_limit")
    @classmethod
    def _check_quantity(cls, text: str) -> str:
        if values.quantity(text) is None:
            raise ValueError("must be a quantity such as 50m or 64Mi")
        return text

    @field_validator("proxy_https_proxy")
    @classmethod
    def _check_http_proxy(cls, url: str) -> str:
        if url and not (_HTTP_PROXY.fullmatch(url) and urlsplit(url).port != 0):
            raise ValueError(
                "must be http://HOST:PORT or https://HOST:PORT; without a password, which everybody who reads pods "
                "would see"
            )
        return url

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        for contradiction in _contradictions(self):
            raise ValueError(contradiction)
        return self


def _contradictions(settings: Settings) -> Iterator[str]:
    yield from _endpoint_contradictions(settings)
    if settings.tls_min_version == "1.2" and not openssl_suites(settings.tls_cipher_suites):
        yield "--tls-cipher-suites names no suite of TLS 1.2, which --tls-min-version allows; name one, or set 1.3"
    if not settings.opt_in:
        yield "--opt-in must name at least one of pod-label, namespace-label and service-account"
    for kind in ("cpu", "memory"):
        request, limit = getattr(settings, f"proxy_{kind}_request"), getattr(settings, f"proxy_{kind}_limit")
        if (values.quantity(request) or 0) > (values.quantity(limit) or 0):
            yield f"--proxy-{kind}-request {request} is above --proxy-{kind}-limit {limit}; raise the limit"
    if settings.proxy_pass_through and _V160_PROXY.search(settings.proxy_image):
        yield (
            f"--proxy-pass-through needs this project's proxy: v1.6.0's, {settings.proxy_image}, would not start; "
            "set PROXY_IMAGE to this project's image"
        )
    yield from _cluster_contradictions(settings)


def _cluster_contradictions(settings: Settings) -> Iterator[str]:
    if settings.identity_mapping and settings.identity_mapping_configmap:
        yield "--identity-mapping and --identity-mapping-configmap are two places for one thing; set one of them"
    if settings.identity_mapping_configmap and settings.service_accounts:
        yield "--identity-mapping-configmap needs a cluster; with --service-accounts use --identity-mapping"
    if settings.ca_lifetime < LIFETIMES * settings.cert_lifetime:
        yield f"--ca-lifetime must be at least {LIFETIMES} times --cert-lifetime, so that a CA outlives what it signs"
    if not settings.self_managed:
        return
    if settings.upstream_cert_secret and settings.upstream_cert_secret == settings.cert_secret:
        yield "--upstream-cert-secret and --cert-secret must differ: two programs cannot keep one Secret"
    for flag, value in (
        ("--cert-secret", settings.cert_secret),
        ("--webhook-service", settings.webhook_service),
        ("--webhook-configurations", settings.webhook_configurations),
        ("POD_NAMESPACE", settings.pod_namespace),
    ):
        if not value:
            yield f"{flag} must be set where the server makes its own certificates (no --disable-cert-rotation)"


def _endpoint_contradictions(settings: Settings) -> Iterator[str]:
    suffix, audience = settings.endpoint_suffix, settings.endpoint_audience
    if bool(suffix) != bool(audience):
        yield (
            "--custom-token-endpoint-annotation-suffix and --custom-token-endpoint-audience go together: "
            "set both, or neither for no custom token endpoint"
        )
    if suffix and not _KEY_NAME.fullmatch("use-" + suffix):
        yield f"--custom-token-endpoint-annotation-suffix: {names.CUSTOM_ENDPOINT_PREFIX}{suffix} is no annotation key"
    if suffix and audience.lower() == names.DEFAULT_AUDIENCE.lower():
        yield f"--custom-token-endpoint-audience must differ from the default audience {names.DEFAULT_AUDIENCE}"
    if suffix and not settings.endpoint_url:
        yield f"{names.ENV_TOKEN_PROXY} must be the URL of the custom token endpoint when its flags are set"
    if sum(map(bool, (settings.endpoint_ca_data, settings.endpoint_ca_configmap, settings.endpoint_ca_signer))) > 1:
        yield (
            "only one of AZURE_KUBERNETES_CA_DATA, AZURE_KUBERNETES_CA_CONFIGMAP_NAME and "
            "AZURE_KUBERNETES_CA_CTB_SIGNER_NAME can be set; remove the others"
        )
    if settings.endpoint_ca_selector is not None and not settings.endpoint_ca_signer:
        yield "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR needs AZURE_KUBERNETES_CA_CTB_SIGNER_NAME; set both or neither"


SOURCES: Final[Mapping[str, Source]] = {
    name: next(item for item in info.metadata if isinstance(item, Source))
    for name, info in Settings.model_fields.items()
}
