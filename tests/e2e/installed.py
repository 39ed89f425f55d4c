"""The chart, installed by helm on the node."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError, Cluster
from testbed.cluster.server import wait_until_true
from tests.cluster.support.release import FULLNAME, Release
from tests.e2e.workloads import CONFIGMAP, RESTRICTED
from tests.image import build

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
    status = release.control_plane.kubectl(
        "rollout", "status", DEPLOYMENT, f"--namespace={release.namespace}", "--timeout=55s"
    )
    assert status.returncode == 0, status.stdout + status.stderr


def mutated(release: Release, namespace: str) -> bool:
    """Whether a pod is mutated; while the API server cannot call the webhook it is not."""
    try:
        return release.is_mutated(namespace)
    except ApiError:
        return False


def pods(release: Release) -> list[JsonObject]:
    """Return the server's pods that are not about to end."""
    listed = release.control_plane.kubectl(
        "get", "pods", f"--namespace={release.namespace}", SELECTOR, "--output=json"
    ).stdout
    return [pod for pod in json.loads(listed)["items"] if "deletionTimestamp" not in pod["metadata"]]


@contextmanager
def installed(
    cluster: Cluster,
    directory: Path,
    *,
    release: Release | None = None,
    **more: Any,  # noqa: ANN401  values of the chart
) -> Iterator[Release]:
    """Install the chart, wait until the API server reaches its pods, and uninstall it in the end.

    Ready pods are not enough: kube-proxy writes the rules of their Service a moment later. Unless a release is given,
    it is one in a `restricted` namespace of its own.
    """
    release = release or Release(cluster, cluster.create_namespace(RESTRICTED), directory)
    release.apply("install", **values(**more))
    try:
        wait(release)
        namespace = release.workload_namespace()
        wait_until_true(lambda: mutated(release, namespace), "the API server reaches the webhook")
        yield release
    finally:
        release.helm("uninstall", release.name)
