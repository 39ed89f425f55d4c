"""Values that the chart refuses, with messages that say what to do."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
import yaml

from azure_workload_identity.types import JsonObject
from tests.chart.helm import BASE, CHART, Helm, HelmError, only, rendered

INVALID: Final[list[tuple[JsonObject, str]]] = [
    ({"replicacount": 3}, "additional properties 'replicacount' not allowed"),
    ({"image.tags": "1"}, "at '/image': additional properties 'tags' not allowed"),
    ({"image.digest": "1234"}, "at '/image/digest'"),
    ({"azureTenantID": "not a tenant"}, "at '/azureTenantID'"),
    ({"azureEnvironment": "Azure"}, "at '/azureEnvironment': value must be one of"),
    ({"azureAuthorityHost": "http://login.example.com"}, "at '/azureAuthorityHost'"),
    ({"optIn": []}, "at '/optIn': minItems: got 0, want 1"),
    ({"optIn": ["pods"]}, "at '/optIn/0': value must be one of 'pod-label', 'namespace-label', 'service-account'"),
    ({"serviceAccountTokenExpiration": 60}, "minimum: got 60, want 3,600"),
    ({"certificates.mode": "magic"}, "value must be one of 'self-managed', 'cert-manager', 'existing-secret'"),
    ({"certificates.lifetime": "90d"}, "at '/certificates/lifetime'"),
    ({"webhook.failurePolicy": "fail"}, "value must be one of 'Fail', 'Ignore'"),
    ({"webhook.timeoutSeconds": 31}, "maximum: got 31, want 30"),
    ({"mutatingWebhookNamespaceSelector.matchLabel": {}}, "additional properties 'matchLabel' not allowed"),
    ({"service.targetPort": 0}, "minimum: got 0, want 1"),
    ({"service.type": "External"}, "at '/service/type'"),
    ({"healthAddr": "0"}, "at '/healthAddr'"),
    ({"tlsMinVersion": "1.1"}, "value must be one of '1.2', '1.3', 'VersionTLS12', 'VersionTLS13'"),
    ({"logLevel": "verbose"}, "at '/logLevel'"),
    ({"replicaCount": 0}, "minimum: got 0, want 1"),
    ({"replicaCount": "two"}, "got string, want integer"),
    ({"podDisruptionBudget.maxUnavailable": 0}, "minimum: got 0, want 1"),
    ({"podDisruptionBudget.maxUnavailable": "0%"}, "at '/podDisruptionBudget/maxUnavailable'"),
    ({"podDisruptionBudget.minAvailable": "100%"}, "at '/podDisruptionBudget/minAvailable'"),
    ({"identityMapping.mappings": [{"serviceAccount": "a"}]}, "missing property 'namespace'"),
    ({"proxy.httpsProxy": "http://user:password@proxy.example.com"}, "at '/proxy/httpsProxy'"),
    ({"proxy.noProxy": "10.0.0.0/8"}, "at '/proxy/noProxy': got string, want array"),
    ({"proxy.caConfigMap": "Egress CA"}, "at '/proxy/caConfigMap'"),
    ({"proxy.passThrough": ["/metadata/Identity/oauth2/token"]}, "at '/proxy/passThrough/0'"),
    ({"proxy.passThrough": ["/metadata/../instance"]}, "at '/proxy/passThrough/0'"),
    ({"commonLabels": {"team": "the platform"}}, "at '/commonLabels/team'"),
    ({"podLabels": {"a/b/c": "d"}}, "at '/podLabels': additional properties 'a/b/c' not allowed"),
    ({"podAnnotations": {"no blanks": "d"}}, "at '/podAnnotations': additional properties 'no blanks' not allowed"),
    ({"fullnameOverride": "azwi.prod"}, "at '/fullnameOverride'"),
    ({"fullnameOverride": "2azwi"}, "at '/fullnameOverride'"),
    ({"nameOverride": "Identity"}, "at '/nameOverride'"),
    ({"serviceAccount.name": "a..b"}, "at '/serviceAccount/name'"),
    ({"certificates.secretName": "a.-b"}, "at '/certificates/secretName'"),
    ({"test.namespace": "a.b"}, "at '/test/namespace'"),
    ({"webhook.excludedNamespaces": ["kube_system"]}, "at '/webhook/excludedNamespaces/0'"),
    ({"webhook.matchConditions": [{"name": "a b", "expression": "true"}]}, "at '/webhook/matchConditions/0/name'"),
    ({"extraVolumes": [{"name": "A"}]}, "at '/extraVolumes/0/name'"),
    ({"metrics.prometheusRule.alertLabels": {"the-team": "a"}}, "additional properties 'the-team' not allowed"),
    ({"metrics.prometheusRule.disabled": ["Down"]}, "at '/metrics/prometheusRule/disabled/0'"),
]
SECRET: Final = {"certificates.mode": "existing-secret", "certificates.secretName": "mine"}
PEM: Final = "-----BEGIN CERTIFICATE-----"
CONFLICTS: Final[list[tuple[JsonObject, str]]] = [
    ({"azureTenantID": ""}, "azureTenantID is not set; with the az command line: az account show --query tenantId"),
    (
        {"image.repository": "mcr.microsoft.com/oss/azure/workload-identity/webhook"},
        "holds another program, the Go original: remove image.repository and image.release from your values",
    ),
    ({"resources.limits.memory": "30Mi"}, "raise it to 192Mi, or remove resources from your values"),
    ({"certificates.mode": "existing-secret", "certificates.caBundle": PEM}, "needs certificates.secretName"),
    (SECRET, "needs certificates.caBundle, the CA as PEM (helm --set-file certificates.caBundle=ca.crt)"),
    ({"certificates.caBundle": PEM}, "goes with certificates.mode existing-secret only"),
    ({"certificates.certManager.issuerRef": {"name": "a"}}, "goes with certificates.mode cert-manager only"),
    (
        {"certificates.mode": "cert-manager", "certificates.certManager.issuerRef": {"kind": "Issuer"}},
        "needs the issuer's name",
    ),
    ({"extraEnv": [{"name": "AZURE_TENANT_ID", "value": "x"}]}, "extraEnv cannot set AZURE_TENANT_ID"),
    ({"extraEnv": [{"name": "AZURE_KUBERNETES_SNI_NAME"}]}, "extraEnv cannot set AZURE_KUBERNETES_SNI_NAME"),
    ({"extraVolumes": [{"name": "cert", "emptyDir": {}}]}, "choose another name"),
    ({"extraVolumeMounts": [{"name": "a", "mountPath": "/certs"}]}, "choose another path"),
    ({"terminationGracePeriodSeconds": 10}, "must be longer than drainSeconds 10"),
    ({"service.targetPort": 9440}, "need different ports, but have 9440, 9440, 8095"),
    (
        {"identityMapping.mappings": [{"namespace": "a"}], "identityMapping.existingConfigMap": "b"},
        "identityMapping.mappings and identityMapping.existingConfigMap exclude each other",
    ),
    ({"customTokenEndpoint.annotationSuffix": "x"}, "go together: set all three, or none"),
    (
        {
            "customTokenEndpoint.azureKubernetesCaData": "x",
            "customTokenEndpoint.azureKubernetesCAConfigMapName": "x",
        },
        "only one of customTokenEndpoint.azureKubernetesCaData",
    ),
    (
        {"customTokenEndpoint.azureKubernetesCACTBLabelSelector": "{}"},
        "azureKubernetesCACTBLabelSelector needs .azureKubernetesCACTBSignerName",
    ),
    ({"replicaCount": 1, "podDisruptionBudget.minAvailable": 1}, "block every node drain"),
    ({"replicaCount": 3, "podDisruptionBudget.minAvailable": "67%"}, "block every node drain"),
    (
        {"autoscaling.enabled": True, "replicaCount": 9, "podDisruptionBudget.minAvailable": 2},
        "minAvailable 2 with 2 replica(s)",
    ),
    (
        {"podDisruptionBudget.minAvailable": 1, "podDisruptionBudget.maxUnavailable": 1},
        "minAvailable and .maxUnavailable exclude each other",
    ),
    ({"autoscaling.enabled": True, "autoscaling.maxReplicas": 1}, "is above autoscaling.maxReplicas 1"),
    ({"metricsAddr": "0", "metrics.podMonitor.enabled": True}, "set metricsAddr to an address"),
    (
        {"metrics.podMonitor.enabled": True, "metrics.serviceMonitor.enabled": True},
        "would scrape every metric twice: enable one",
    ),
    ({"upstreamNames": True, "fullnameOverride": "x"}, "upstreamNames and fullnameOverride exclude each other"),
    ({"serviceAccount.create": False}, "needs serviceAccount.name"),
    (
        {"podLabels": {"app.kubernetes.io/instance": "x"}},
        "cannot set app.kubernetes.io/instance, which the Deployment's selector uses",
    ),
]


@pytest.fixture(scope="module")
def refused(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Try all the invalid values in one run; return helm's message for each."""
    with pytest.raises(HelmError) as error:
        helm.variants([values for values, _ in INVALID], tmp_path_factory.mktemp("refused"))
    parts = re.split(r"^v(\d+):\n", str(error.value), flags=re.MULTILINE)
    messages = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    return [messages.get(number, "accepted") for number in range(len(INVALID))]


@pytest.mark.parametrize("number", range(len(INVALID)))
def test_invalid_value(refused: list[str], number: int) -> None:
    """A misspelt name or an invalid value is refused, and the message names it."""
    assert INVALID[number][1] in refused[number]


@pytest.fixture(scope="module")
def conflicts(helm: Helm) -> list[str]:
    """Try each set of conflicting values; return helm's message for each."""

    def message(values: JsonObject) -> str:
        with pytest.raises(HelmError) as error:
            helm.template(values={**BASE, **values})
        return str(error.value)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(message, (values for values, _ in CONFLICTS)))


@pytest.mark.parametrize("number", range(len(CONFLICTS)), ids=["-".join(values) for values, _ in CONFLICTS])
def test_conflicting_values(conflicts: list[str], number: int) -> None:
    """Conflicting values are refused, and the message says what to change."""
    assert "These values cannot be used:" in conflicts[number]
    assert CONFLICTS[number][1] in conflicts[number]


def test_all_at_once(helm: Helm) -> None:
    """Several mistakes are reported together."""
    values = {"serviceAccount.create": False, "service.targetPort": 9440, "certificates.caBundle": PEM}
    with pytest.raises(HelmError) as refused:
        rendered(helm, values)
    assert str(refused.value).count("\n- ") == 3


@pytest.mark.parametrize("release", ["azwi.prod", "2azwi", "a.b.c"])
def test_release_name(helm: Helm, release: str) -> None:
    """A release name that Kubernetes would refuse in a Service is refused before anything is created."""
    with pytest.raises(HelmError, match=f"the release's name {release} makes the object name {release}-workload-"):
        helm.run("template", release, str(CHART), "--set=azureTenantID=contoso.com")
    assert helm.run("template", release, str(CHART), "--set=azureTenantID=contoso.com,fullnameOverride=azwi")


def test_misnamed_values(helm: Helm) -> None:
    """A name that people write for another value is refused with the value that is meant."""
    misnamed: dict[str, str] = yaml.safe_load((CHART / "values.rules.yaml").read_text())["misnamed"]
    names = {name for name in misnamed if not any(other.startswith(f"{name}.") for other in misnamed)}
    with pytest.raises(HelmError) as error:
        helm.template(values={**BASE, **dict.fromkeys(names, "x")})
    for name in names:
        assert f"- {name} is not a value of this chart: set {misnamed[name]}\n" in str(error.value)
    assert "image.tag is not a value of this chart: set image.release" in str(error.value)


def test_old_kubernetes(helm: Helm) -> None:
    """A cluster that is too old is refused."""
    with pytest.raises(HelmError, match=r"chart requires kubeVersion: >=1\.29\.0-0"):
        helm.template("--kube-version=1.28.0", values=BASE)


def test_budgets_that_allow_an_eviction(helm: Helm) -> None:
    """A minAvailable that allows at least one eviction is rendered as it is."""
    for replicas, min_available in ((2, 1), (2, "50%"), (3, "66%")):
        manifests = rendered(helm, {"replicaCount": replicas, "podDisruptionBudget.minAvailable": min_available})
        budget = only(manifests, "PodDisruptionBudget")
        assert budget["spec"]["minAvailable"] == min_available
        assert "maxUnavailable" not in budget["spec"]
