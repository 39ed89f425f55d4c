"""The chart, installed by helm on the node."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import UNTIL_TIMEOUT, Cluster
from tests.cluster.support.installation import page
from tests.cluster.support.mutation import wait_until_mutated
from tests.cluster.support.node.node import Node
from tests.cluster.support.release import FULLNAME, Release
from tests.e2e.workloads import CONFIGMAP, RESTRICTED
from tests.image import build

HEALTH_PORT: Final = int(names.HEALTH_ADDR.removeprefix(":"))
DEPLOYMENT: Final = f"deployment/{FULLNAME}"
SELECTOR: Final = "--selector=app.kubernetes.io/name=workload-identity-webhook"


def values(**more: Any) -> dict[str, Any]:  # noqa: ANN401  values of the chart
    """Return what makes a release run this project's image, and the proxy trust the emulated Entra as well."""
    repository, _, tag = build.NAME.rpartition(":")
    return {
        "image__repository": repository,
        "image__release": tag,
        "proxy__caConfigMap": CONFIGMAP,  # it has Entra's CA, for the proxy, too
        "drainSeconds": 10,  # the chart's own, where Release is in a hurry
        **more,
    }


def wait(release: Release) -> None:
    """Wait until every pod of the Deployment is ready and of its newest version."""
    where = f"--namespace={release.namespace}"
    status = release.control_plane.kubectl("rollout", "status", DEPLOYMENT, where, UNTIL_TIMEOUT)
    assert status.returncode == 0, status.stdout + status.stderr


def pods(release: Release) -> list[JsonObject]:
    """Return the server's pods that are not about to end."""
    listed = release.control_plane.kubectl(
        "get", "pods", f"--namespace={release.namespace}", SELECTOR, "--output=json"
    ).stdout
    return [pod for pod in json.loads(listed)["items"] if "deletionTimestamp" not in pod["metadata"]]


def are_ready(release: Release, replicas: int = 2) -> bool:
    """Whether the release has so many pods, and each is ready."""
    statuses = [status for pod in pods(release) for status in pod["status"].get("containerStatuses", [])]
    return [status["ready"] for status in statuses] == [True] * replicas


def answer(replicas: list[JsonObject]) -> bool:
    """Whether each of these pods says that it is ready."""
    return all(page(HEALTH_PORT, "readyz", pod["status"].get("podIP", ""))[0] == 200 for pod in replicas)


def is_routed(node: Node, namespace: str, service: str = FULLNAME) -> bool:
    """Whether kube-proxy sends calls of a Service to each pod of its namespace, and nowhere else."""
    rules = node.in_network("iptables", "--wait", "--table=nat", "--list-rules")
    found = re.findall(rf'"{namespace}/{service}(?::[a-z-]+)?".* --to-destination ([0-9.]+):', rules)
    listed = node.cluster.request("GET", f"/api/v1/namespaces/{namespace}/pods")["items"]
    return set(found) == {
        pod["status"].get("podIP", "") for pod in listed if "deletionTimestamp" not in pod["metadata"]
    }


@contextmanager
def installed(
    cluster: Cluster,
    directory: Path,
    *,
    release: Release | None = None,
    **more: Any,  # noqa: ANN401  values of the chart
) -> Iterator[Release]:
    """Install the chart, wait until the API server reaches its pods, and uninstall it in the end.

    Unless a release is given, it is one in a `restricted` namespace of its own.
    """
    release = release or Release(cluster, cluster.create_namespace(RESTRICTED), directory)
    release.apply("install", **values(**more))
    try:
        wait(release)
        wait_until_mutated(release, release.workload_namespace())
        yield release
    finally:
        release.helm("uninstall", release.name)
