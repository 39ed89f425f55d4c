"""The chart's values cover the server's settings."""

from pathlib import Path
from typing import Final

import pytest
import yaml

from azure_workload_identity.types import JsonObject
from tests.chart.helm import (
    FULLNAME,
    NAMESPACE,
    TENANT_ID,
    VALUE_SETS,
    Helm,
    flags,
    objects,
    rendered,
    server,
    variables,
)
from webhook.config.command_line import load
from webhook.config.settings import SOURCES, Settings

ENDPOINT: Final = {
    "customTokenEndpoint.annotationSuffix": "identity-binding",
    "customTokenEndpoint.audience": "api://AKSIdentityBinding",
    "customTokenEndpoint.azureKubernetesTokenProxy": "https://10.0.0.1/token",
}
MOUNTED: Final = {
    "certificates.mode": "existing-secret",
    "certificates.secretName": "mine",
    "certificates.caBundle": "-----BEGIN CERTIFICATE-----",
}
# For each setting: values that change it, and the setting that the server then reads.
VALUES: Final[dict[str, tuple[JsonObject, object]]] = {
    "tenant_id": ({"azureTenantID": "contoso.com"}, "contoso.com"),
    "cloud": ({"azureEnvironment": "AzureChinaCloud"}, "AzureChinaCloud"),
    "authority_host": ({"azureAuthorityHost": "https://login.example.com/"}, "https://login.example.com/"),
    "audience": ({"audience": "api://other"}, "api://other"),
    "second_audience": ({"secondTokenAudience": "api://AzureADTokenExchange"}, "api://AzureADTokenExchange"),
    "token_expiration": ({"serviceAccountTokenExpiration": 7200}, 7200),
    "opt_in": ({"optIn": ["namespace-label", "service-account"]}, {"namespace-label", "service-account"}),
    "identity_mapping_configmap": ({"identityMapping.existingConfigMap": "identities"}, "identities"),
    "webhook_port": ({"service.targetPort": 10250}, 10250),
    "webhook_cert_dir": (MOUNTED, "/certs"),
    "disable_cert_rotation": (MOUNTED, True),
    "cert_secret": ({"certificates.secretName": "own"}, "own"),
    "upstream_cert_secret": ({"upstreamNames": True}, "azure-wi-webhook-server-cert"),
    "webhook_service": ({"fullnameOverride": "other"}, "other"),
    "webhook_configurations": ({"fullnameOverride": "other"}, {f"azwi-{NAMESPACE}-other"}),
    "ca_lifetime": ({"certificates.caLifetime": "87600h"}, 87600 * 3600),
    "cert_lifetime": ({"certificates.lifetime": "24h"}, 24 * 3600),
    "drain_period": ({"drainSeconds": 3}, 3),
    "tls_min_version": ({"tlsMinVersion": "1.2"}, "1.2"),
    "tls_cipher_suites": (
        {"tlsCipherSuites": ["ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]},
        {"ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"},
    ),
    "client_ca_file": ({"clientCAConfigMap": "api-server-ca"}, "/client-ca/ca.crt"),
    "health_addr": ({"healthAddr": ":9441"}, ":9441"),
    "metrics_addr": ({"metricsAddr": "127.0.0.1:9000"}, "127.0.0.1:9000"),
    "metrics_backend": ({"metricsBackend": "prometheus"}, "prometheus"),
    "log_level": ({"logLevel": "trace"}, "trace"),
    "pod_namespace": ({}, NAMESPACE),
    "proxy_image": ({"proxy.image.repository": "other"}, "other:0.1.0"),
    "proxy_init_image": ({"proxy.initImage": "rules:1"}, "rules:1"),
    "native_sidecars": ({"proxy.nativeSidecars": "never"}, "never"),
    "proxy_cpu_request": ({"proxy.resources.requests.cpu": "11m"}, "11m"),
    "proxy_memory_request": ({"proxy.resources.requests.memory": "49Mi"}, "49Mi"),
    "proxy_cpu_limit": ({"proxy.resources.limits.cpu": "1"}, "1"),
    "proxy_memory_limit": ({"proxy.resources.limits.memory": "129Mi"}, "129Mi"),
    "proxy_https_proxy": ({"proxy.httpsProxy": "http://proxy.example.com:3128"}, "http://proxy.example.com:3128"),
    "proxy_no_proxy": ({"proxy.noProxy": [".example.com", "10.0.0.0/8"]}, {".example.com", "10.0.0.0/8"}),
    "proxy_ca_configmap": ({"proxy.caConfigMap": "egress-ca"}, "egress-ca"),
    "proxy_pass_through": ({"proxy.passThrough": ["/metadata/instance"]}, {"/metadata/instance"}),
    "proxy_uid": ({"proxy.uid": "assigned"}, "assigned"),
    "endpoint_suffix": (ENDPOINT, "identity-binding"),
    "endpoint_audience": (ENDPOINT, "api://AKSIdentityBinding"),
    "endpoint_url": (ENDPOINT, "https://10.0.0.1/token"),
    "endpoint_sni_name": ({"customTokenEndpoint.azureKubernetesSniName": "sni"}, "sni"),
    "endpoint_ca_data": ({"customTokenEndpoint.azureKubernetesCaData": "PEM"}, "PEM"),
    "endpoint_ca_configmap": ({"customTokenEndpoint.azureKubernetesCAConfigMapName": "ca"}, "ca"),
    "endpoint_ca_signer": ({"customTokenEndpoint.azureKubernetesCACTBSignerName": "a.b/c"}, "a.b/c"),
    "endpoint_ca_selector": (
        {
            "customTokenEndpoint.azureKubernetesCACTBSignerName": "a.b/c",
            "customTokenEndpoint.azureKubernetesCACTBLabelSelector": '{"matchLabels":{"a":"b"}}',
        },
        '{"matchLabels":{"a":"b"}}',
    ),
}
WITH_SERVER: Final = [path for path in VALUE_SETS if yaml.safe_load(path.read_text()).get("engine") != "policy"]
# Settings that only extraArgs can change, and why they have no value.
EXTRA_ARGS_ONLY: Final = {
    "webhook_host": "in a pod the server listens on all of the pod's addresses",
    "identity_mapping": "a file; in a cluster the mapping is a ConfigMap, which is watched",
    "kubeconfig": "in a pod the server uses the pod's ServiceAccount",
    "service_accounts": "manifests instead of a cluster",
}


def started_with(manifests: list[JsonObject]) -> dict[str, str]:
    """Return the flags and variables of the container as text, by setting."""
    given, environment = flags(manifests), variables(manifests)
    return {
        name: given[source.flag] if source.flag in given else environment[source.env] or NAMESPACE
        for name, source in SOURCES.items()
        if source.flag in given or source.env in environment
    }


def settings(manifests: list[JsonObject]) -> Settings:
    """Read the flags and variables as the server does."""
    environment = {name: value or NAMESPACE for name, value in variables(manifests).items()}
    return load(server(manifests)["args"], environment)


def test_every_setting_is_reachable() -> None:
    """Each setting of the server has a value, or a reason why not."""
    assert {*VALUES, *EXTRA_ARGS_ONLY} == set(SOURCES)
    assert not VALUES.keys() & EXTRA_ARGS_ONLY.keys()


@pytest.fixture(scope="module")
def changed(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[JsonObject]]:
    """Render the chart with each setting's values."""
    texts = helm.variants([values for values, _ in VALUES.values()], tmp_path_factory.mktemp("settings"))
    return dict(zip(VALUES, map(objects, texts), strict=True))


@pytest.mark.parametrize("setting", VALUES)
def test_value_reaches_setting(changed: dict[str, list[JsonObject]], setting: str) -> None:
    """The value sets the server's setting."""
    _, expected = VALUES[setting]

    text = started_with(changed[setting])[setting]

    if isinstance(expected, set):
        assert set(text.split(",")) == expected
    elif isinstance(expected, bool):
        assert text == ""
    elif isinstance(expected, int):
        assert seconds(text) == expected
    else:
        assert text == expected


def seconds(text: str) -> int:
    """Parse an integer, or a duration to seconds."""
    return int(text.rstrip("hs")) * (3600 if text.endswith("h") else 1)


def test_extra_args(helm: Helm) -> None:
    """Flags of extraArgs follow the chart's flags, so that they win."""
    arguments = ["--webhook-host=::", "--log-level=debug"]
    assert server(rendered(helm, {"extraArgs": arguments}))["args"][-2:] == arguments
    assert settings(rendered(helm, {"extraArgs": arguments})).log_level == "debug"


def test_defaults_agree(defaults: list[JsonObject]) -> None:
    """The chart's defaults are the server's defaults."""
    given, plain = settings(defaults), Settings()
    named_by_release = {"webhook_configurations", "webhook_service", "cert_secret"}
    differing = {name for name in SOURCES if getattr(given, name) != getattr(plain, name)}
    assert differing == named_by_release | {"tenant_id", "proxy_image", "pod_namespace"}
    assert given.webhook_service == FULLNAME
    assert given.tenant_id == TENANT_ID


def test_upstream_names_are_the_defaults(helm: Helm) -> None:
    """With upstreamNames the objects have the names that the server expects by default, but for the Secret.

    v1.6.0's rotator would overwrite a Secret of that name while both run.
    """
    given, plain = settings(rendered(helm, {"upstreamNames": True})), Settings()
    for name in ("webhook_configurations", "webhook_service"):
        assert getattr(given, name) == getattr(plain, name)
    assert given.cert_secret == f"{FULLNAME}-server-cert" != plain.cert_secret


@pytest.mark.parametrize("path", WITH_SERVER, ids=lambda path: path.name)
def test_server_takes_it(value_sets: dict[str, list[JsonObject]], path: Path) -> None:
    """The server accepts the flags and variables of every value set that runs one."""
    settings(value_sets[path.name])
