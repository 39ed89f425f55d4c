"""What the chart refuses, and that it says what to do."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest

from azure_workload_identity.types import JsonObject
from tests.chart.helm import BASE, Helm, HelmError, rendered

TYPOS: Final[list[tuple[JsonObject, str]]] = [
    ({"replicacount": 3}, "additional properties 'replicacount' not allowed"),
    ({"image.tag": "1"}, "at '/image': additional properties 'tag' not allowed"),
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
    ({"tlsMinVersion": "1.1"}, "value must be one of '1.2', '1.3'"),
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
    ({"metrics.prometheusRule.disabled": ["Down"]}, "at '/metrics/prometheusRule/disabled/0'"),
]
SECRET: Final = {"certificates.mode": "existing-secret", "certificates.secretName": "mine"}
PEM: Final = "-----BEGIN CERTIFICATE-----"
PAIRS: Final[list[tuple[JsonObject, str]]] = [
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
    ({"service.targetPort": 9440}, "need different ports, they have 9440, 9440, 8095"),
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
        "would read every metric twice: enable one",
    ),
    ({"upstreamNames": True, "fullnameOverride": "x"}, "upstreamNames and fullnameOverride exclude each other"),
    ({"serviceAccount.create": False}, "needs serviceAccount.name"),
    (
        {"podLabels": {"app.kubernetes.io/instance": "x"}},
        "cannot set app.kubernetes.io/instance, by which the Deployment finds its pods",
    ),
]


@pytest.fixture(scope="module")
def refused(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Try all the impossible values by one run; return what helm says to each."""
    with pytest.raises(HelmError) as error:
        helm.variants([values for values, _ in TYPOS], tmp_path_factory.mktemp("refused"))
    parts = re.split(r"^v(\d+):\n", str(error.value), flags=re.MULTILINE)
    said = dict(zip(map(int, parts[1::2]), parts[2::2], strict=True))
    return [said.get(number, "nothing") for number in range(len(TYPOS))]


@pytest.mark.parametrize("number", range(len(TYPOS)))
def test_value_that_cannot_be(refused: list[str], number: int) -> None:
    """A misspelt name or an impossible value is refused, and named."""
    assert TYPOS[number][1] in refused[number]


@pytest.fixture(scope="module")
def complaints(helm: Helm) -> list[str]:
    """Try each of the values that cannot go together; return what helm says."""

    def complaint(values: JsonObject) -> str:
        with pytest.raises(HelmError) as error:
            helm.template(values={**BASE, **values})
        return str(error.value)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(complaint, (values for values, _ in PAIRS)))


@pytest.mark.parametrize("number", range(len(PAIRS)), ids=["-".join(values) for values, _ in PAIRS])
def test_values_that_exclude_each_other(complaints: list[str], number: int) -> None:
    """Values that cannot go together are refused, with what to do."""
    assert "These values cannot be used:" in complaints[number]
    assert PAIRS[number][1] in complaints[number]


def test_all_at_once(helm: Helm) -> None:
    """Several mistakes are named together."""
    values = {"serviceAccount.create": False, "service.targetPort": 9440, "certificates.caBundle": PEM}
    with pytest.raises(HelmError) as refused:
        rendered(helm, values)
    assert str(refused.value).count("\n- ") == 3


def test_old_kubernetes(helm: Helm) -> None:
    """A cluster that is too old is refused by its version."""
    with pytest.raises(HelmError, match=r"chart requires kubeVersion: >=1\.29\.0-0"):
        helm.template("--kube-version=1.28.0", values=BASE)


def test_budgets_that_let_one_go(helm: Helm) -> None:
    """A minAvailable that lets at least one pod go is taken as it is."""
    for count, least in ((2, 1), (2, "50%"), (3, "66%")):
        manifests = rendered(helm, {"replicaCount": count, "podDisruptionBudget.minAvailable": least})
        (budget,) = [each for each in manifests if each["kind"] == "PodDisruptionBudget"]
        assert budget["spec"]["minAvailable"] == least
        assert "maxUnavailable" not in budget["spec"]
