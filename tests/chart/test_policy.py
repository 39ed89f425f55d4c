"""The chart's engines: admission policies instead of the webhook, or beside it."""

from typing import Final

import pytest
import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from tests.chart.helm import BASE, FULLNAME, NAMESPACE, Helm, HelmError, objects, only, rendered
from webhook.admission.identity import IdentityMapping
from webhook.admission_policy.manifests import Guard, Installation, documents
from webhook.config import command_line, policies
from webhook.config.identity_mapping import parse

# Helm renders for half a second.
pytestmark = pytest.mark.renders

POLICY: Final = {"engine": "policy"}
NAME: Final = f"azwi-{NAMESPACE}-{FULLNAME}"
EXCLUDED: Final = {
    "matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]}
    ]
}
MAPPINGS: Final[list[JsonObject]] = [
    {"namespace": "team-*", "serviceAccount": "*", "clientId": "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"},
    {"namespace": "shop", "serviceAccount": "web.*", "clientId": "c7b0f5a4-1f1e-4e57-8a44-0d6a3f0a9d11"},
    {"namespace": "shop", "serviceAccount": "web", "clientId": "d1e7a8f2-5c3b-4b90-9d26-8f4a7c0b6e35"},
    {"namespace": "shop", "serviceAccount": "web", "clientId": "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"},
    {
        "namespace": "team-[!a]?",
        "clientId": "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5",
        "tenantId": "contoso.example",
        "serviceAccountTokenExpiration": 7200,
    },
]
ENDPOINT: Final = {
    "customTokenEndpoint.annotationSuffix": "identity-binding",
    "customTokenEndpoint.audience": "api://AKSIdentityBinding",
    "customTokenEndpoint.azureKubernetesTokenProxy": "https://bindings.example",
}
SETTINGS: Final[dict[str, JsonObject]] = {
    "defaults": {},
    "identities": {
        "optIn": ["service-account", "pod-label", "namespace-label"],
        "audience": 'api://<other> & "more"\'s',
        "secondTokenAudience": "api://second",
        "serviceAccountTokenExpiration": 7200,
        "azureEnvironment": "AzureUSGovernmentCloud",
        "identityMapping.mappings": MAPPINGS,
    },
    "authority": {"azureAuthorityHost": "https://login.example.com/"},
    "endpoint with a CA": {
        **ENDPOINT,
        "customTokenEndpoint.azureKubernetesSniName": "bindings.example",
        "customTokenEndpoint.azureKubernetesCaData": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    },
    "endpoint with bundles": {
        **ENDPOINT,
        "customTokenEndpoint.azureKubernetesCACTBSignerName": "example.com/bindings",
        "customTokenEndpoint.azureKubernetesCACTBLabelSelector": (
            '{"matchLabels":{"use":"bindings"},"matchExpressions":[{"key":"zone","operator":"In","values":["a","b"]}]}'
        ),
    },
    "proxy": {
        "logLevel": "debug",
        "proxy.httpsProxy": "http://proxy.example:3128",
        "proxy.noProxy": [".svc", "10.0.0.0/8"],
        "proxy.caConfigMap": "egress-ca",
        "proxy.passThrough": ["/metadata/instance"],
        "proxy.uid": "assigned",
        "proxy.nativeSidecars": "never",
        "proxy.initImage": "registry.example/init:1",
        "proxy.resources.limits.cpu": 1,
    },
}


def expected(manifests: list[JsonObject], values: JsonObject, installation: Installation) -> list[JsonObject]:
    """Write the policies of the settings with which the chart starts the server."""
    container = only(manifests, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    arguments = [flag for flag in container["args"] if not flag.startswith("--identity-mapping-configmap")]
    environment = {variable["name"]: variable.get("value", "x") for variable in container["env"]}
    mapping = IdentityMapping(parse(yaml.safe_dump({"mappings": values.get("identityMapping.mappings", [])})).entries)
    policy = policies.build(command_line.load(arguments, environment), mapping, None)
    return list(yaml.safe_load_all(documents(policy, installation)))


def of_policy(manifests: list[JsonObject]) -> dict[tuple[str, str], JsonObject]:
    """Return policies and bindings by kind and name, without the chart's labels."""
    return {
        (found["kind"], found["metadata"]["name"]): {**found, "metadata": {"name": found["metadata"]["name"]}}
        for found in manifests
        if "AdmissionPolicy" in found["kind"] and "ca-bundle" not in found["metadata"]["name"]
    }


@pytest.mark.parametrize("values", SETTINGS.values(), ids=SETTINGS)
def test_same_as_generated(helm: Helm, values: JsonObject) -> None:
    """The chart's policies are those that are generated from the settings of its server."""
    manifests = rendered(helm, {"engine": "both", **values})
    wanted = expected(manifests, values, Installation(NAME, namespace_selector=EXCLUDED))
    found, generated = of_policy(manifests), of_policy(wanted)
    # Beside the webhook an error of this one only means that the webhook is called.
    generated["MutatingAdmissionPolicy", f"{NAME}-inject"]["spec"]["failurePolicy"] = "Ignore"
    assert found == generated


def test_installation(helm: Helm) -> None:
    """The values of policies are where they belong, and nothing of the server is rendered."""
    selector = {"matchLabels": {names.USE_LABEL: "true"}}
    condition = {"name": "no-jobs", "expression": "object.kind == 'Pod'"}
    values = {
        **POLICY,
        "policy.guard": "warn",
        "policy.failurePolicy": "Ignore",
        "policy.accountSelector": selector,
        "webhook.matchConditions": [condition],
        "test.enabled": False,
    }
    manifests = rendered(helm, values)
    installation = Installation(
        NAME,
        failure_policy="Ignore",
        guard=Guard.WARN,
        account_selector=selector,
        namespace_selector=EXCLUDED,
        match_conditions=(condition,),
    )
    assert of_policy(manifests) == of_policy(expected(rendered(helm), {}, installation))
    assert len(of_policy(manifests)) == len(manifests) == 8


def test_no_guard(helm: Helm) -> None:
    """The guard can be left out."""
    assert not [name for _, name in of_policy(rendered(helm, {**POLICY, "policy.guard": "off"})) if "guard" in name]


def test_both(helm: Helm) -> None:
    """Beside the policies each entry of the webhook is called only for pods without a volume of theirs."""
    entries = only(
        rendered(helm, {"engine": "both", "optIn": ["pod-label", "namespace-label", "service-account"]}),
        "MutatingWebhookConfiguration",
    )["webhooks"]
    assert [entry["matchConditions"][-1] for entry in entries] == [
        {
            "name": "left-by-policy",
            "expression": f"!('{names.REFUSED}' in object.metadata.?labels.orValue({{}}))\n"
            "&& !object.spec.?volumes.orValue([]).exists(volume, "
            f"volume.name.startsWith('{names.VOLUME_PREFIX}'))",
        }
    ] * 3


def test_mapping_of_a_configmap(helm: Helm) -> None:
    """Where only the webhook reads the mapping, policies keep to pods whose ServiceAccount leaves nothing to it."""
    found = of_policy(rendered(helm, {"engine": "both", "identityMapping.existingConfigMap": "mine"}))
    for kind in ("Mutating", "Validating"):
        name = f"{NAME}-{'inject' if kind == 'Mutating' else 'warn'}"
        conditions = found[f"{kind}AdmissionPolicy", name]["spec"]["matchConditions"]
        assert [condition["name"] for condition in conditions] == ["own-account", "own-values"]


V1: Final = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy"
BETA: Final = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy"


@pytest.mark.parametrize(
    ("arguments", "version"),
    [
        (["--kube-version=1.36"], "v1"),
        (["--kube-version=1.36", "--api-versions=v1/Pod", f"--api-versions={V1}", f"--api-versions={BETA}"], "v1"),
        (["--kube-version=1.35", "--api-versions=v1/Pod", f"--api-versions={BETA}"], "v1beta1"),
        (["--kube-version=1.36", "--api-versions=v1/Pod"], ""),
        (["--kube-version=1.34", "--api-versions=v1/Pod", f"--api-versions={BETA}"], ""),
        (["--kube-version=1.35"], ""),
    ],
)
def test_version(helm: Helm, arguments: list[str], version: str) -> None:
    """MutatingAdmissionPolicy is rendered in the version that the cluster has, and refused where it has none."""
    if version:
        policy = only(objects(helm.template(*arguments, values={**BASE, **POLICY})), "MutatingAdmissionPolicy")
        assert policy["apiVersion"] == f"admissionregistration.k8s.io/{version}"
        return
    with pytest.raises(HelmError, match=r"engine policy needs MutatingAdmissionPolicy: Kubernetes 1\.36"):
        helm.template(*arguments, values={**BASE, **POLICY})


REFUSED: Final[list[tuple[JsonObject, str]]] = [
    ({"identityMapping.existingConfigMap": "mine"}, "write the entries into identityMapping.mappings, or set engine"),
    ({"webhook.failurePolicy": "Ignore"}, "has no effect with engine policy: set policy.failurePolicy"),
    ({"extraArgs": ["--audience=x"]}, "extraArgs needs the webhook's server"),
    ({"webhook.secondCall": True}, "webhook.secondCall needs the webhook's server"),
    ({"certificates.mode": "cert-manager"}, "certificates.mode needs the webhook's server"),
    ({"metrics.dashboard.enabled": True}, "metrics.dashboard.enabled needs the webhook's server"),
    ({"identityMapping.mappings": [{"namespace": "a", "clientId": "b"}]}, r"mappings\[0\].clientId must be a UUID"),
    (
        {"identityMapping.mappings": [{**MAPPINGS[0], "tenantId": "a b"}]},
        r"mappings\[0\].tenantId must be a UUID or a domain",
    ),
    (
        {"identityMapping.mappings": [{**MAPPINGS[0], "namespace": "[a*]"}]},
        r"mappings\[0\] has a pattern that policies",
    ),
    ({"secondTokenAudience": "a b"}, "secondTokenAudience must be printable ASCII"),
    (
        {"identityMapping.mappings": [{**MAPPINGS[2], "serviceAccount": f"web-{number}"} for number in range(1_000)]},
        r"has \d+ characters as an expression, and the API server takes 100000: use fewer entries",
    ),
]


@pytest.mark.parametrize(("values", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_refused(helm: Helm, values: JsonObject, message: str) -> None:
    """A value that policies cannot express is refused with the reason."""
    with pytest.raises(HelmError, match=message):
        rendered(helm, {**POLICY, **values})
