"""The Deployment: names, images, security, availability."""

import json
import re
from typing import Final

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from tests.chart.helm import (
    CHART,
    FULLNAME,
    NAMESPACE,
    Helm,
    nested,
    objects,
    of_kind,
    only,
    pod_spec,
    rendered,
    server,
    variables,
)

DIGEST: Final = "sha256:" + "0123456789abcdef" * 4


def test_restricted(defaults: list[JsonObject]) -> None:
    """Every container meets Pod Security `restricted`, on a read-only root."""
    for spec in (pod_spec(defaults), only(defaults, "Pod")["spec"]):
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["runAsUser"] == 65532


def test_resources(defaults: list[JsonObject]) -> None:
    """The memory limit is above the measured use, CPU has no limit, and values.yaml cites the measurement."""
    resources = server(defaults)["resources"]
    assert resources == {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "192Mi"}}
    comment = (CHART / "values.yaml").read_text().partition("\nresources:")[0].rpartition("# -- ")[2]
    assert "62 MiB RSS idle" in comment


def test_probes(defaults: list[JsonObject]) -> None:
    """Readiness uses /readyz; startup and liveness use /healthz, so certificates and API server never kill a pod."""
    container = server(defaults)
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/healthz", "readiness": "/readyz", "liveness": "/healthz"}


@pytest.mark.parametrize(("drain", "grace"), [(10, 30), (60, 80)])
def test_time_to_drain(helm: Helm, drain: int, grace: int) -> None:
    """The grace period is the drain time plus 20 seconds, without a preStop hook."""
    spec = pod_spec(rendered(helm, {"drainSeconds": drain}))
    assert spec["terminationGracePeriodSeconds"] == grace
    assert f"--drain-period={drain}s" in spec["containers"][0]["args"]
    assert "lifecycle" not in spec["containers"][0]


def test_rollout(defaults: list[JsonObject]) -> None:
    """An old pod is removed only once a new one is ready."""
    spec = only(defaults, "Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["replicas"] == 2


def test_spread(defaults: list[JsonObject]) -> None:
    """Pods of one version are spread over nodes and zones where possible."""
    deployment = only(defaults, "Deployment")["spec"]
    for constraint in pod_spec(defaults)["topologySpreadConstraints"]:
        assert constraint["whenUnsatisfiable"] == "ScheduleAnyway"
        assert constraint["labelSelector"] == deployment["selector"]


@pytest.mark.parametrize(
    ("values", "spec"),
    [
        ({}, {"maxUnavailable": 1}),
        ({"replicaCount": 1}, {"maxUnavailable": 1}),
        ({"podDisruptionBudget.minAvailable": 1}, {"minAvailable": 1}),
        ({"podDisruptionBudget.maxUnavailable": "50%"}, {"maxUnavailable": "50%"}),
    ],
)
def test_budget(helm: Helm, values: JsonObject, spec: JsonObject) -> None:
    """The budget always allows an eviction, and pods that are not ready can always be evicted."""
    budget = only(rendered(helm, values), "PodDisruptionBudget")["spec"]
    assert budget.pop("unhealthyPodEvictionPolicy") == "AlwaysAllow"
    budget.pop("selector")
    assert budget == spec


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ({}, ["system-cluster-critical"]),
        ({"priorityClassName": "system-node-critical"}, ["system-node-critical"]),
        ({"priorityClassName": "platform"}, None),
        ({"priorityClassName": ""}, None),
        ({"resourceQuota.create": False}, None),
    ],
)
def test_quota_of_critical_pods(helm: Helm, values: JsonObject, classes: list[str] | None) -> None:
    """Pods of a critical priority class bring the ResourceQuota without which clusters such as GKE refuse them."""
    manifests = rendered(helm, values)
    assert pod_spec(manifests).get("priorityClassName", "") == values.get(
        "priorityClassName", "system-cluster-critical"
    )
    quotas = [quota["spec"]["scopeSelector"]["matchExpressions"] for quota in of_kind(manifests, "ResourceQuota")]
    wanted = [[{"scopeName": "PriorityClass", "operator": "In", "values": classes}]]
    assert quotas == (wanted if classes else [])


def test_no_quota_in_kube_system(helm: Helm) -> None:
    """In kube-system there is no second quota: it would be added to that of the cluster."""
    manifests = objects(helm.run("template", "azwi", str(CHART), "-n=kube-system", "--set=azureTenantID=contoso.com"))
    assert of_kind(manifests, "ResourceQuota") == []


def test_autoscaling(helm: Helm) -> None:
    """With a HorizontalPodAutoscaler the Deployment does not set replicas."""
    manifests = rendered(helm, {"autoscaling.enabled": True})
    assert "replicas" not in only(manifests, "Deployment")["spec"]
    target = only(manifests, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]
    assert target["name"] == only(manifests, "Deployment")["metadata"]["name"]


@pytest.mark.parametrize(
    ("values", "image", "proxy"),
    [
        ({}, "azwi:0.1.0", "azwi:0.1.0"),
        ({"image.registry": "r.example.com/"}, "r.example.com/azwi:0.1.0", "r.example.com/azwi:0.1.0"),
        (
            {"global.imageRegistry": "g.example.com", "proxy.image.registry": "r.example.com"},
            "g.example.com/azwi:0.1.0",
            "r.example.com/azwi:0.1.0",
        ),
        ({"image.digest": DIGEST, "image.release": "2"}, f"azwi@{DIGEST}", f"azwi@{DIGEST}"),
        ({"image.digest": DIGEST, "proxy.image.release": "3"}, f"azwi@{DIGEST}", "azwi:3"),
        ({"proxy.image.digest": DIGEST}, "azwi:0.1.0", f"azwi@{DIGEST}"),
    ],
)
def test_images(helm: Helm, values: JsonObject, image: str, proxy: str) -> None:
    """One image serves every role; registry, tag and digest can be set for all roles or for the proxy only."""
    manifests = rendered(helm, values)
    assert server(manifests)["image"] == only(manifests, "Pod")["spec"]["containers"][0]["image"] == image
    assert variables(manifests)["PROXY_IMAGE"] == proxy


def test_pull_secrets(helm: Helm) -> None:
    """Pull secrets of the parent chart and of this one are merged without duplicates."""
    values = {"global.imagePullSecrets": [{"name": "a"}], "imagePullSecrets": [{"name": "b"}, {"name": "a"}]}
    assert pod_spec(rendered(helm, values))["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]


def names_of(manifests: list[JsonObject], *, namespaced: bool) -> set[tuple[str, str]]:
    """Return kind and name of the namespaced or of the cluster-scoped objects."""
    return {
        (manifest["kind"], manifest["metadata"]["name"])
        for manifest in manifests
        if ("namespace" in manifest["metadata"]) is namespaced
    }


def test_two_releases(helm: Helm, defaults: list[JsonObject]) -> None:
    """Two releases in one namespace, or with one name in two namespaces, share no object."""
    values = nested({"azureTenantID": "contoso.com"})
    beside = objects(helm.run("template", "other", str(CHART), f"-n={NAMESPACE}", "-f=-", stdin=json.dumps(values)))
    elsewhere = objects(helm.run("template", "azwi", str(CHART), "-n=elsewhere", "-f=-", stdin=json.dumps(values)))
    for namespaced in (True, False):
        assert not names_of(defaults, namespaced=namespaced) & names_of(beside, namespaced=namespaced)
    assert not names_of(defaults, namespaced=False) & names_of(elsewhere, namespaced=False)


def test_long_names(helm: Helm) -> None:
    """The longest release name results in valid Service names."""
    values = json.dumps({"azureTenantID": "contoso.com", "metrics": {"service": {"enabled": True}}})
    manifests = objects(helm.run("template", "r" * 53, str(CHART), f"-n={NAMESPACE}", "-f=-", stdin=values))
    for service in of_kind(manifests, "Service"):
        assert len(service["metadata"]["name"]) <= 63


def test_upstream_names(helm: Helm) -> None:
    """With upstreamNames, v1.6.0's objects are replaced in place: same names, selector and port."""
    manifests = rendered(helm, {"upstreamNames": True, "test.enabled": False})
    manager = "azure-wi-webhook-controller-manager"
    assert names_of(manifests, namespaced=True) == {
        ("Deployment", manager),
        ("PodDisruptionBudget", manager),
        ("ResourceQuota", "azwi-workload-identity-webhook-critical-pods"),
        ("Service", "azure-wi-webhook-webhook-service"),
        ("ServiceAccount", "azure-wi-webhook-admin"),
        ("Secret", "azwi-workload-identity-webhook-server-cert"),
        ("Secret", "azure-wi-webhook-server-cert"),
        ("Role", "azure-wi-webhook-manager-role"),
        ("RoleBinding", "azure-wi-webhook-manager-rolebinding"),
    }
    assert names_of(manifests, namespaced=False) == {
        ("MutatingWebhookConfiguration", "azure-wi-webhook-mutating-webhook-configuration"),
        ("ClusterRole", "azure-wi-webhook-manager-role"),
        ("ClusterRoleBinding", "azure-wi-webhook-manager-rolebinding"),
        ("ValidatingAdmissionPolicy", f"azwi-{NAMESPACE}-{FULLNAME}-ca-bundle-only"),
        ("ValidatingAdmissionPolicyBinding", f"azwi-{NAMESPACE}-{FULLNAME}-ca-bundle-only"),
    }
    selector = {
        "app": "workload-identity-webhook",
        "azure-workload-identity.io/system": "true",
        "chart": "workload-identity-webhook",
        "release": "azwi",
    }
    assert only(manifests, "Deployment")["spec"]["selector"]["matchLabels"] == selector
    service = only(manifests, "Service")["spec"]
    assert service["selector"] == selector
    assert "name" not in service["ports"][0], "kube-proxy finds endpoints by it, and v1.6.0's port has none"


@pytest.mark.parametrize("upstream", [False, True])
def test_selectors(helm: Helm, *, upstream: bool) -> None:
    """Every selector matches the server's pods and no other pod of the release, such as the test pod."""
    values = {"upstreamNames": upstream, "test.namespace": NAMESPACE, "metrics.service.enabled": True}
    manifests = rendered(helm, {**values, "podLabels": {"extra": "label"}, "networkPolicy.enabled": True})
    labels = only(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    selectors = [
        *(service["spec"]["selector"] for service in of_kind(manifests, "Service")),
        only(manifests, "Deployment")["spec"]["selector"]["matchLabels"],
        only(manifests, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        only(manifests, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ]
    assert len(selectors) == 5
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= only(manifests, "Pod")["metadata"]["labels"].items()
    assert labels["extra"] == "label"


def test_pods_opt_out(helm: Helm) -> None:
    """The server's pods carry the label that opts a pod out, whatever labels the user adds."""
    manifests = rendered(helm, {"podLabels": {names.USE_LABEL: "true"}, "commonLabels": {names.USE_LABEL: "true"}})
    assert only(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"][names.USE_LABEL] == "false"


def test_common_labels(helm: Helm) -> None:
    """Common labels and annotations are on every object and on the pods."""
    manifests = rendered(helm, {"commonLabels": {"team": "a"}, "commonAnnotations": {"owner": "b"}})
    of_objects = [manifest["metadata"] for manifest in manifests]
    for metadata in (*of_objects, only(manifests, "Deployment")["spec"]["template"]["metadata"]):
        assert metadata["labels"]["team"] == "a"
        assert metadata["annotations"]["owner"] == "b"


def test_extra_objects(value_sets: dict[str, list[JsonObject]]) -> None:
    """Extra objects are rendered as templates, whether maps or text."""
    extras = value_sets["30-extras-values.yaml"]
    assert only(extras, "ConfigMap", "extra")["data"] == {"release": "azwi"}
    assert only(extras, "ConfigMap", "azwi-text")


def test_notes(helm: Helm) -> None:
    """The notes show the next commands, and warn of what would make pods fail."""
    dry = ("install", "azwi", str(CHART), f"-n={NAMESPACE}", "--dry-run=client", "--values=-")
    printed = helm.run(*dry, stdin=json.dumps({"azureTenantID": "contoso.com", "replicaCount": 1}))
    notes = printed.partition("NOTES:")[2]
    assert f"kubectl -n {NAMESPACE} rollout status deployment/azwi-workload-identity-webhook" in notes
    assert f"helm -n {NAMESPACE} test azwi" in notes
    assert re.findall(r"^WARNING: (.*?)[,.:]? ", notes, re.MULTILINE)
    assert "image azwi:0.1.0 names no registry" in notes
    assert "there is one replica and webhook.failurePolicy is Fail" in notes

    quiet = {"azureTenantID": "contoso.com", "image": {"registry": "registry.example.com"}}
    assert "WARNING" not in helm.run(*dry, stdin=json.dumps(quiet))
