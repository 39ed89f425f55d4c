"""The server in its container, under the chart's own limits, while its ports are attacked from outside the cluster."""

from pathlib import Path
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.attacks import ATTACKS, Target, under_attack
from testbed.cluster.server import wait_until_true
from tests.cluster.support.installation import page
from tests.cluster.support.node.node import Node
from tests.cluster.support.release import Release
from tests.e2e.faults import memory
from tests.e2e.installed import HEALTH_PORT, are_ready, pods
from tests.e2e.report import note
from tests.e2e.workloads import Workloads

NAMES: Final = ("trailers", "idle-tls", "silent-tls", "bodies", "heads", "labels", "unread")
SECONDS: Final = 3.0
METRICS_PORT: Final = int(names.METRICS_ADDR.removeprefix(":"))
LIMIT_MIB: Final = 192


def test_network_attacks(node: Node, release: Release, ordinary: Workloads) -> None:
    """Under every attack on both replicas at once no creation fails, and no server is killed or restarted."""
    replicas = pods(release)
    servers = [node.server(pod) for pod in replicas]
    cgroups = [_memory(pod) for pod in replicas]
    for name in NAMES:
        for cgroup in cgroups:
            (cgroup / "memory.max_usage_in_bytes").write_text("0")
        created = 0
        with under_attack(name, *map(_target, replicas), seconds=SECONDS) as goes_on:
            while goes_on() or not created:
                assert release.is_mutated(ordinary.namespace), name
                assert [page(HEALTH_PORT, "healthz", _address(pod))[0] for pod in replicas] == [200, 200], name
                created += 1
        peaks = [int((cgroup / "memory.max_usage_in_bytes").read_text()) >> 20 for cgroup in cgroups]
        note(f"{ATTACKS[name].text}: at most {max(peaks)} of {LIMIT_MIB} MiB, {created} pods meanwhile")
    wait_until_true(lambda: are_ready(release), "the kubelet finds the replicas ready")
    after = pods(release)
    assert [node.server(pod) for pod in after] == servers
    for pod in after:
        (status,) = pod["status"]["containerStatuses"]
        assert (status["restartCount"], status["lastState"]) == (0, {})


def _address(pod: JsonObject) -> str:
    address: str = pod["status"]["podIP"]
    return address


def _target(pod: JsonObject) -> Target:
    return Target(_address(pod), names.WEBHOOK_PORT, HEALTH_PORT, METRICS_PORT)


def _memory(pod: JsonObject) -> Path:
    """The cgroup of a pod's container, whose limit is the chart's."""
    cgroup = memory(pod)
    assert int((cgroup / "memory.limit_in_bytes").read_text()) == LIMIT_MIB << 20
    return cgroup
