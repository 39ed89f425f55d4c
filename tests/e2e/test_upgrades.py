"""Pods are created while the server's pods are replaced or killed, and failures are counted.

kube-proxy syncs once a second, as on real nodes, so a Service may have a dead endpoint for up to a second.
"""

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import UNTIL_TIMEOUT
from testbed.cluster.server import wait_until_true
from tests.cluster.support.load import IN_FLIGHT, Created, continuous
from tests.cluster.support.mutation import wait_until_mutated
from tests.cluster.support.node.node import Node
from tests.cluster.support.release import Release
from tests.e2e.installed import answer, are_ready, installed, is_routed, pods, values, wait
from tests.e2e.report import note
from tests.e2e.workloads import SECURITY
from tests.image import build

# The pods are stored but never scheduled: only their creation is tested.
NEVER = [{"name": "azwi.test/never"}]
CLIENTS = 4
PAUSE_SECONDS = 0.05
TIMEOUT_SECONDS = 5.0  # the chart's webhook.timeoutSeconds
SATURATED_SECONDS = 15.0
KILLED_SECONDS = 4.0  # kubelet and kube-proxy each notice within a second or two


@pytest.fixture(scope="module")
def serving(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Install the chart with its defaults."""
    with installed(node.cluster, tmp_path_factory.mktemp("serving")) as release:
        yield release


@contextmanager
def creating(release: Release, what: str) -> Iterator[Created]:
    """Create pods before, during and after the enclosed block, and note the result."""
    namespace = release.workload_namespace()
    wait_until_mutated(release, namespace)
    begun = time.monotonic()
    with continuous(release.control_plane, namespace, CLIENTS, PAUSE_SECONDS, schedulingGates=NEVER) as created:
        time.sleep(1)
        yield created
        time.sleep(1)
    note(
        f"{time.monotonic() - begun:7.2f} s  {what}: {created.count} pods created, {len(created.failures)} failed, "
        f"the slowest took {created.slowest:.2f} s"
    )
    release.control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


def gone(release: Release, names: list[str]) -> None:
    """Wait until these pods are gone: signalled, drained, ended."""
    for name in names:
        release.control_plane.kubectl(
            "wait", "--for=delete", f"pod/{name}", f"--namespace={release.namespace}", UNTIL_TIMEOUT
        )


def names_of(found: list[JsonObject]) -> list[str]:
    """Return the names of pods."""
    return [pod["metadata"]["name"] for pod in found]


def test_rolling_upgrade_and_rollback(serving: Release) -> None:
    """`helm upgrade` to another pod template and `helm rollback` replace every pod twice without a failure."""
    with creating(serving, "upgrade and rollback") as created:
        first = names_of(pods(serving))
        serving.apply("upgrade", **values(podAnnotations={"example.com/version": "2"}))
        wait(serving)
        second = names_of(pods(serving))
        assert serving.helm("rollback", serving.name).returncode == 0
        wait(serving)
        gone(serving, [*first, *second])
    assert not {*first, *second} & {*names_of(pods(serving))}
    assert created.failures == []
    assert created.slowest < TIMEOUT_SECONDS


def test_forced_deletion(serving: Release) -> None:
    """`kubectl delete pod --force` of a replica fails no creation."""
    (victim, _) = names_of(pods(serving))
    with creating(serving, "kubectl delete pod --force of one replica") as created:
        serving.control_plane.kubectl(
            "delete", "pod", victim, "--force", "--grace-period=0", f"--namespace={serving.namespace}"
        )
        # The Deployment's controller may not have noticed yet, and report a complete rollout.
        wait_until_true(lambda: victim not in names_of(pods(serving)) and are_ready(serving), "it is replaced")
    assert created.failures == []
    assert created.slowest < TIMEOUT_SECONDS


def test_killed_server(node: Node, serving: Release) -> None:
    """SIGKILL of a replica's server fails at most its requests in flight: its sockets stay open."""
    for victim in pods(serving):
        first = node.server(victim)
        with creating(serving, "SIGKILL of one replica's server") as created:
            os.kill(first, signal.SIGKILL)
            wait_until_true(lambda victim=victim: answer([victim]), "another server answers")  # type: ignore[misc]
        only_in_flight(created)
        assert node.server(victim) != first
        assert status_of(serving, victim)["restartCount"] == 0


def only_in_flight(created: Created) -> None:
    """Only requests in flight failed, at most one a client, all within a second."""
    assert not [failure for failure in created.failures if not re.search(IN_FLIGHT, failure)]
    assert len(created.failures) <= CLIENTS
    assert span(created.failures) <= 1
    assert created.slowest < TIMEOUT_SECONDS


def test_killed_server_with_a_second_call(node: Node, tmp_path: Path) -> None:
    """With `webhook.secondCall` SIGKILL of a replica's server fails at most a pod whose calls both broke off.

    The API server has several connections to the killed server: the second call may take one that breaks next.
    """
    with installed(node.cluster, tmp_path, webhook={"secondCall": True}) as release:
        for victim in pods(release):
            with creating(release, "the same with webhook.secondCall") as created:
                os.kill(node.server(victim), signal.SIGKILL)
                wait_until_true(lambda victim=victim: answer([victim]), "another server answers")  # type: ignore[misc]
            only_in_flight(created)


def test_killed_container(node: Node, serving: Release) -> None:
    """SIGKILL of a replica's container fails calls to it until kube-proxy removes the endpoint, and none after that.

    The API server's connection is refused, it tries no other endpoint, and failurePolicy Fail makes that an error.
    Controllers, which create most pods, retry.
    """
    for victim in pods(serving):
        with creating(serving, "SIGKILL of one replica's container") as created:
            os.kill(node.container(victim), signal.SIGKILL)
            wait_until_true(lambda victim=victim: was_restarted(serving, victim), "it is ready again")  # type: ignore[misc]
            wait_until_true(lambda: is_routed(node, serving.namespace), "kube-proxy sends calls to it again")
        assert not [
            failure for failure in created.failures if not re.search(f"{IN_FLIGHT}|connection refused", failure)
        ]
        assert span(created.failures) <= KILLED_SECONDS
        assert created.slowest < TIMEOUT_SECONDS


def status_of(release: Release, pod: JsonObject) -> JsonObject:
    """Return the status of the pod's container."""
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod['metadata']['name']}"
    (status,) = release.control_plane.request("GET", path)["status"]["containerStatuses"]
    found: JsonObject = status
    return found


def was_restarted(release: Release, pod: JsonObject) -> bool:
    """Whether the pod's container was started a second time, and is ready."""
    status = status_of(release, pod)
    return bool(status["ready"] and status["restartCount"])


def span(failures: list[str]) -> float:
    """Return the seconds from the first failure to the last."""
    clocks = [datetime.strptime(failure.partition(" ")[0], "%H:%M:%S") for failure in failures]  # noqa: DTZ007  a span
    return (max(clocks) - min(clocks)).total_seconds() if clocks else 0.0


def test_saturated_node(serving: Release) -> None:
    """With every core of the node taken by pods that asked for it, creations get slower and none fails."""
    namespace = serving.control_plane.create_namespace()
    burning = {
        "name": "burn",
        "image": build.NAME,
        "command": ["python3", "-c", "while True: pass"],
        "resources": {"requests": {"cpu": "400m"}},
        "securityContext": SECURITY,
    }
    cores = os.cpu_count() or 1
    metadata = {"labels": {"app": "burn"}}
    spec = {
        "replicas": 2 * cores,
        "selector": {"matchLabels": {"app": "burn"}},
        "template": {"metadata": metadata, "spec": {"containers": [burning], "terminationGracePeriodSeconds": 0}},
    }
    deployment = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "burn"}, "spec": spec}
    stored = serving.control_plane.create(namespace, deployment)
    assert stored.returncode == 0, stored.stderr
    done = serving.control_plane.kubectl(
        "rollout", "status", "deployment/burn", f"--namespace={namespace}", UNTIL_TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    with creating(serving, f"{2 * cores} busy pods on {cores} cores") as created:
        time.sleep(SATURATED_SECONDS)
    serving.control_plane.kubectl("delete", "namespace", namespace)
    assert created.failures == []
    assert created.slowest < TIMEOUT_SECONDS
    restarts = [pod["status"]["containerStatuses"][0]["restartCount"] for pod in pods(serving)]
    note(f"restarts of the replicas after all of it: {json.dumps(restarts)}")
