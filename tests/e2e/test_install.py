"""From `helm install` to pods with identities, and what the server costs the node."""

import json
import time
from pathlib import Path

from testbed.cluster.control_plane import Cluster
from testbed.cluster.server import wait_until_true
from tests.cluster.support.mutation import wait_until_mutated
from tests.cluster.support.node.configuration import API_PORT, NAME, NETWORK
from tests.cluster.support.release import Release
from tests.e2e.installed import installed, pods, values, wait
from tests.e2e.report import note
from tests.e2e.workloads import RESTRICTED
from tests.image import build

MEBIBYTE = 1024 * 1024


def test_first_pod(cluster: Cluster, tmp_path: Path) -> None:
    """From `helm install` with two replicas it takes seconds to the first pod that is given its identity."""
    release = Release(cluster, cluster.create_namespace(RESTRICTED), tmp_path)
    namespace = release.workload_namespace()
    begun = time.monotonic()
    release.apply("install", **values())
    helm = time.monotonic() - begun
    wait_until_mutated(release, namespace)
    note(f"{time.monotonic() - begun:7.2f} s  helm install to the first mutated pod, helm's own {helm:.2f} s included")
    wait(release)
    note(f"{time.monotonic() - begun:7.2f} s  helm install to both replicas ready")
    release.helm("uninstall", release.name)


def test_pods(release: Release) -> None:
    """Two pods of the image are ready under Pod Security `restricted`, with the chart's resources, never restarted."""
    running = pods(release)
    assert len(running) == 2
    for pod in running:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["ready"], status["restartCount"], status["image"]) == (True, 0, build.NAME)
        (container,) = pod["spec"]["containers"]
        assert container["resources"] == {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "192Mi"}}


def test_memory(release: Release) -> None:
    """The server's memory as measured by cAdvisor is below its request."""
    wait_until_true(lambda: len(_resident(release)) == 2, "cAdvisor has looked at both")
    sizes = _resident(release)
    note("RSS of the replicas by cAdvisor: " + ", ".join(f"{size / MEBIBYTE:.0f} MiB" for size in sizes))
    assert max(sizes) < 96 * MEBIBYTE


def _resident(release: Release) -> list[int]:
    summary = release.control_plane.request("GET", f"/api/v1/nodes/{NAME}/proxy/stats/summary")
    return [
        container["memory"]["rssBytes"]
        for pod in summary["pods"]
        if pod["podRef"]["namespace"] == release.namespace
        for container in pod.get("containers", [])
        if container.get("memory", {}).get("rssBytes")
    ]


def test_helm_test(cluster: Cluster, tmp_path: Path) -> None:
    """`helm test` succeeds: its pod really runs, and finds an identity and a token."""
    release = Release(cluster, cluster.create_namespace(RESTRICTED), tmp_path)
    namespace = release.workload_namespace(RESTRICTED)
    with installed(cluster, tmp_path, release=release, test={"namespace": namespace}):
        done = release.helm("test", release.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Succeeded" in done.stdout


def test_network_policy(cluster: Cluster, tmp_path: Path) -> None:
    """The API server takes the chart's NetworkPolicy, with every peer and port that can be set.

    The node's network plugin (ptp) enforces none, so this says nothing of what it would let through.
    """
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    block = {"ipBlock": {"cidr": NETWORK}}
    policy = {
        "enabled": True,
        "webhookFrom": [block],
        "metricsFrom": [peer],
        "apiServerTo": [block],
        "apiServerPorts": [API_PORT],
        "extraEgress": [{"to": [peer], "ports": [{"port": 4317}]}],
    }
    with installed(cluster, tmp_path, networkPolicy=policy) as release:
        stored = json.loads(
            cluster.kubectl("get", "networkpolicy", f"--namespace={release.namespace}", "--output=json").stdout
        )
    (only,) = stored["items"]
    assert len(only["spec"]["ingress"]) == 3
    assert only["spec"]["egress"][0]["to"] == [block]
    note("NetworkPolicy: validated by the API server; the ptp plugin does not enforce it")
