"""LimitRanges and ResourceQuotas that the injected proxy would break."""

import copy

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.offline.limits import NamespaceLimits, problems

PROXY: JsonObject = {
    "name": "azwi-proxy",
    "restartPolicy": "Always",
    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}},
}
BEFORE: JsonObject = {
    "spec": {"containers": [{"name": "app", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]}
}
AFTER: JsonObject = {"spec": {**BEFORE["spec"], "initContainers": [PROXY]}}


def limit_range(kind: str = "Container", **item: object) -> NamespaceLimits:
    """Write the limits of a namespace with one LimitRange of one item."""
    item = {"maxLimitRequestRatio" if key == "ratio" else key: value for key, value in item.items()}
    return NamespaceLimits([{"metadata": {"name": "bounds"}, "spec": {"limits": [{"type": kind, **item}]}}])


def quota(used: dict[str, str] | None = None, scopes: list[str] | None = None, **hard: str) -> NamespaceLimits:
    """Write the limits of a namespace with one ResourceQuota; `requests_cpu` is requests.cpu."""
    amounts = {key.replace("_", "."): value for key, value in hard.items()}
    spec = {"hard": amounts, **({"scopes": scopes} if scopes else {})}
    return NamespaceLimits(
        quotas=[{"metadata": {"name": "team"}, "spec": spec, "status": {"hard": amounts, "used": used or {}}}]
    )


@pytest.mark.parametrize(
    ("limits", "text", "annotations"),
    [
        (
            limit_range(min={"cpu": "100m"}),
            "the cpu request must be at least 100m and is 10m",
            {names.PROXY_CPU_REQUEST: "100m"},
        ),
        (
            limit_range(min={"memory": "90Mi"}),
            "the memory request must be at least 90Mi and is 32Mi",
            {names.PROXY_MEMORY_REQUEST: "90Mi", names.PROXY_MEMORY_LIMIT: "90Mi"},
        ),
        (
            limit_range(max={"cpu": "200m"}),
            "the cpu limit must be at most 200m and is 500m",
            {names.PROXY_CPU_LIMIT: "200m"},
        ),
        (
            limit_range(max={"memory": "16Mi"}),
            "the memory limit must be at most 16Mi and is 64Mi",
            {names.PROXY_MEMORY_REQUEST: "16Mi", names.PROXY_MEMORY_LIMIT: "16Mi"},
        ),
        (
            limit_range(ratio={"cpu": "4"}),
            "the cpu limit (500m) must be at most 4 times its request (10m)",
            {names.PROXY_CPU_REQUEST: "125m"},
        ),
    ],
)
def test_limit_range(limits: NamespaceLimits, text: str, annotations: dict[str, str]) -> None:
    """A bound that the proxy's own resources break is reported with the annotation that helps."""
    [problem] = problems(BEFORE, AFTER, limits)
    assert problem.text == f"azwi-proxy: {text}"
    assert dict(problem.annotations) == annotations
    assert str(problem).startswith("LimitRange bounds would refuse the pod: azwi-proxy: ")


@pytest.mark.parametrize(
    "limits",
    [
        NamespaceLimits(),
        limit_range(min={"cpu": "10m"}, max={"cpu": "500m"}, ratio={"cpu": "50"}),
        limit_range("PersistentVolumeClaim", min={"storage": "1Gi"}),
        limit_range("Pod", max={"cpu": "50m"}),  # the pod breaks it without the proxy, too
        limit_range(default={"ephemeral-storage": "1Gi"}, max={"ephemeral-storage": "2Gi"}),
        quota(requests_cpu="1"),
        quota(requests_cpu="50m"),
        quota(scopes=["BestEffort"], requests_cpu="100m"),
        quota(pods="0"),
    ],
)
def test_nothing_broken(limits: NamespaceLimits) -> None:
    """What the proxy keeps, and what the pod would break without it, is not reported."""
    assert problems(BEFORE, AFTER, limits) == ()


def test_own_containers() -> None:
    """A pod into which no container is injected has no problem, whatever its own ask for."""
    assert problems(BEFORE, BEFORE, limit_range(min={"cpu": "1"})) == ()


def test_pod_maximum() -> None:
    """The sum of a pod counts, with the proxy as a sidecar."""
    before, after = copy.deepcopy(BEFORE), copy.deepcopy(AFTER)
    for pod in (before, after):
        pod["spec"]["containers"][0]["resources"]["limits"] = {"memory": "128Mi"}
    [problem] = problems(before, after, limit_range("Pod", max={"memory": "150Mi"}))
    assert problem.text == "the pod with the proxy: the memory limit must be at most 150Mi and is 192Mi"


def test_quota() -> None:
    """A quota that has room for the pod and not for the proxy is reported with what is left."""
    [problem] = problems(BEFORE, AFTER, quota(used={"requests.cpu": "900m"}, requests_cpu="1"))
    assert problem.source == "ResourceQuota team"
    assert "the pod's cpu request is 110m, and 100m of requests.cpu is left" in problem.text


def test_quota_that_asks_for_limits() -> None:
    """A proxy without a limit is reported where a quota asks for one."""
    after = copy.deepcopy(AFTER)
    del after["spec"]["initContainers"][0]["resources"]["limits"]["memory"]
    [problem] = problems(BEFORE, after, quota(limits_memory="1Gi"))
    assert problem.annotations == ((names.PROXY_MEMORY_LIMIT, "64Mi"),)


@pytest.mark.parametrize("level", ["baseline", "restricted"])
def test_pod_security(level: str) -> None:
    """Where Pod Security forbids the redirect rules, the mode without them is named."""
    after = copy.deepcopy(AFTER)
    after["spec"]["initContainers"].insert(0, {"name": "azwi-proxy-init"})
    [problem] = problems(BEFORE, after, NamespaceLimits(pod_security=level))
    assert problem.annotations == ((names.PROXY_MODE, "environment"),)
    assert problems(BEFORE, after, NamespaceLimits(pod_security="privileged")) == ()
    assert problems(BEFORE, AFTER, NamespaceLimits(pod_security=level)) == ()
