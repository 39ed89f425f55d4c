"""The webhook configuration: which pods are sent, and what happens if no server answers."""

import json
from itertools import chain, combinations
from typing import Final

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from tests.chart.helm import BASE, CHART, NAMESPACE, Helm, objects, only, rendered

MODES: Final = ("pod-label", "namespace-label", "service-account")
SETS: Final = list(chain.from_iterable(combinations(MODES, count) for count in (1, 2, 3)))
OWN: Final = "azwi-workload-identity-webhook"


NO_MIRROR_POD: Final = {
    "name": "no-mirror-pod",
    "expression": "!has(object.metadata.annotations)"
    " || !('kubernetes.io/config.mirror' in object.metadata.annotations)",
}


def entries(manifests: list[JsonObject]) -> list[JsonObject]:
    """Return the entries of the webhook configuration."""
    return list(only(manifests, "MutatingWebhookConfiguration")["webhooks"])


def test_default_entry(defaults: list[JsonObject]) -> None:
    """By default the only entry is v1.6.0's: labelled pods on creation, with its path, policies and name."""
    (entry,) = entries(defaults)
    assert entry == {
        "name": "mutation.azure-workload-identity.io",
        "admissionReviewVersions": ["v1", "v1beta1"],
        "clientConfig": {
            "service": {"name": OWN, "namespace": NAMESPACE, "path": names.MUTATE_PATH, "port": 443},
        },
        "failurePolicy": "Fail",
        "matchPolicy": "Equivalent",
        "reinvocationPolicy": "IfNeeded",
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "matchConditions": [NO_MIRROR_POD],
        "objectSelector": {"matchLabels": {names.USE_LABEL: "true"}},
        "namespaceSelector": {
            "matchExpressions": [
                {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]}
            ]
        },
        "rules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }
        ],
    }


def matches(selector: JsonObject, labels: dict[str, str]) -> bool:
    """Return whether a LabelSelector matches, as the API server does."""
    wanted = selector.get("matchLabels", {}).items()
    return wanted <= labels.items() and all(
        _meets(expression, labels) for expression in selector.get("matchExpressions", [])
    )


def _meets(expression: JsonObject, labels: dict[str, str]) -> bool:
    among = labels.get(expression["key"]) in expression["values"]
    return {"In": among, "NotIn": not among}[expression["operator"]]


@pytest.mark.parametrize("modes", SETS, ids="+".join)
def test_each_pod_is_sent_once(helm: Helm, modes: tuple[str, ...]) -> None:
    """In any combination of modes a pod matches at most one entry, chosen by its label, then its namespace's."""
    configured = entries(rendered(helm, {"optIn": list(modes)}))
    assert len(configured) == len(modes)

    for pod in ("true", "false", None):
        for namespace in ("true", None):
            pod_labels = {names.USE_LABEL: pod} if pod else {}
            namespace_labels = {"kubernetes.io/metadata.name": "apps"}
            namespace_labels |= {names.USE_LABEL: namespace} if namespace else {}
            called = [
                entry["clientConfig"]["service"]["path"]
                for entry in configured
                if matches(entry["objectSelector"], pod_labels)
                and matches(entry["namespaceSelector"], namespace_labels)
            ]
            assert called == expected(modes, pod, namespace), (pod, namespace)


def expected(modes: tuple[str, ...], pod: str | None, namespace: str | None) -> list[str]:
    """Return the paths called for a pod, given its label and its namespace's label."""
    if pod == "false":
        return []
    if pod == "true" and "pod-label" in modes:
        return [names.MUTATE_PATH]
    if namespace == "true" and "namespace-label" in modes:
        return [names.MUTATE_NAMESPACE_PATH]
    return [names.MUTATE_PATH] if "service-account" in modes else []


def test_own_namespace_selector(helm: Helm) -> None:
    """Every entry has the user's namespace selector besides the excluded namespaces."""
    wanted = {"matchLabels": {"tier": "apps"}, "matchExpressions": [{"key": "identity", "operator": "Exists"}]}
    for entry in entries(rendered(helm, {"optIn": list(MODES), "mutatingWebhookNamespaceSelector": wanted})):
        selector = entry["namespaceSelector"]
        assert selector["matchLabels"] == {"tier": "apps"}
        assert selector["matchExpressions"][0] == {"key": "identity", "operator": "Exists"}
        assert selector["matchExpressions"][-1]["values"] == ["kube-system", NAMESPACE]


def test_every_namespace(helm: Helm) -> None:
    """Without excluded namespaces there is no namespace selector, as in v1.6.0."""
    values = {"webhook.excludedNamespaces": [], "webhook.excludeReleaseNamespace": False}
    (entry,) = entries(rendered(helm, values))
    assert "namespaceSelector" not in entry


@pytest.mark.parametrize(
    ("values", "field", "value"),
    [
        ({"webhook.failurePolicy": "Ignore"}, "failurePolicy", "Ignore"),
        ({"webhook.timeoutSeconds": 30}, "timeoutSeconds", 30),
        ({"webhook.reinvocationPolicy": "Never"}, "reinvocationPolicy", "Never"),
        (
            {"webhook.matchConditions": [{"name": "a", "expression": "true"}]},
            "matchConditions",
            [NO_MIRROR_POD, {"name": "a", "expression": "true"}],
        ),
    ],
)
def test_policies(helm: Helm, values: JsonObject, field: str, value: object) -> None:
    """Policies, timeout and conditions apply to every entry."""
    configured = entries(rendered(helm, {"optIn": list(MODES), **values}))
    assert [entry[field] for entry in configured] == [value] * 3


def test_second_call(helm: Helm) -> None:
    """The second entry equals the first, but is called only for pods without the volume, and only it can refuse.

    The service-account mode has none: most of its calls change nothing, so a failed call cannot be recognised.
    """
    condition = {"name": "a", "expression": "true"}
    values = {"optIn": list(MODES), "webhook.secondCall": True, "webhook.matchConditions": [condition]}
    first, second, *of_namespace, of_account = entries(rendered(helm, values))
    assert [first.pop("name"), first.pop("failurePolicy")] == ["first.mutation.azure-workload-identity.io", "Ignore"]
    assert [second.pop("name"), second.pop("failurePolicy")] == ["mutation.azure-workload-identity.io", "Fail"]
    (*kept, added) = second["matchConditions"]
    assert names.VOLUME in added["expression"]
    assert {**second, "matchConditions": kept} == first
    assert [entry["failurePolicy"] for entry in of_namespace] == ["Ignore", "Fail"]
    assert (of_account["failurePolicy"], of_account["matchConditions"]) == ("Fail", [NO_MIRROR_POD, condition])


def test_called_after_upstream(helm: Helm) -> None:
    """Next to v1.6.0 this webhook is called second in any namespace, since names decide the order."""
    rendered_first = objects(helm.run("template", "a", str(CHART), "-n=aaa", "-f=-", stdin=json.dumps(BASE)))
    name = only(rendered_first, "MutatingWebhookConfiguration")["metadata"]["name"]
    assert name > "azure-wi-webhook-mutating-webhook-configuration"


def test_admissions_enforcer(helm: Helm, defaults: list[JsonObject]) -> None:
    """AKS's admissions enforcer stays enabled unless a value disables it."""
    key = "admissions.enforcer/disabled"
    assert key not in only(defaults, "MutatingWebhookConfiguration")["metadata"]["labels"]
    labelled = rendered(helm, {"webhook.admissionsEnforcerDisabled": True})
    assert only(labelled, "MutatingWebhookConfiguration")["metadata"]["labels"][key] == "true"


def test_ports_meet(helm: Helm) -> None:
    """Webhook configuration, Service, container and server agree on the ports."""
    manifests = rendered(helm, {"service.port": 8443, "service.targetPort": 10250, "hostNetwork": True})
    (entry,) = entries(manifests)
    service = only(manifests, "Service")["spec"]["ports"][0]
    pod = only(manifests, "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert entry["clientConfig"]["service"]["port"] == service["port"] == 8443
    assert ports[service["targetPort"]] == 10250
    assert "--webhook-port=10250" in container["args"]
    assert pod["hostNetwork"] is True
    strategy = only(manifests, "Deployment")["spec"]["strategy"]["rollingUpdate"]
    assert strategy == {"maxSurge": 0, "maxUnavailable": 1}
