"""What goes wrong on a node, and is put right again whatever happens meanwhile."""

import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from azure_workload_identity.types import JsonObject
from testbed.cluster.server import wait_until_true
from testbed.processes import MAX_WAIT_SECONDS, running, until
from testbed.program import ROOT
from tests.cluster.support.node import configuration
from tests.cluster.support.node.configuration import ADDRESS, API_PORT, CGROUP
from tests.cluster.support.node.needs import CGROUPS
from tests.cluster.support.node.node import Node
from tests.e2e.hog import kills

TOKEN: Final = "run/secrets/kubernetes.io/serviceaccount/token"
LEFT: Final = 1 << 20  # bytes that are written block by block


@contextmanager
def without_dns(node: Node) -> Iterator[None]:
    """Nothing that a pod asks the cluster's DNS reaches it."""
    rule = ("FORWARD", "--protocol", "udp", "--dport", "53", "--jump", "DROP")
    node.in_network("iptables", "--wait", "--insert", *rule)
    try:
        yield
    finally:
        node.in_network("iptables", "--wait", "--delete", *rule)


def flush_connections(node: Node) -> None:
    """Make the kernel forget every connection of the node's network, those to Services among them."""
    node.in_network("conntrack", "--flush")


def kubelet_is_healthy(node: Node) -> bool:
    """Whether the kubelet answers."""
    done = node.cluster.kubectl("get", "--raw", f"/api/v1/nodes/{configuration.NAME}/proxy/healthz")
    return done.stdout == "ok"


def memory(pod: JsonObject) -> Path:
    """Return the memory cgroup of a pod's container."""
    identifier = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    (cgroup,) = (CGROUPS / "memory" / CGROUP).rglob(f"*/{identifier}")
    return cgroup


def out_of_memory(pods: list[JsonObject], directory: Path, times: int = 1) -> None:
    """Have the kernel end a process of each of these pods' containers for want of memory, so many times."""
    before = {pod["metadata"]["name"]: (memory(pod), kills(memory(pod))) for pod in pods}
    with ExitStack() as stack:
        hogs = [
            stack.enter_context(
                running(
                    [sys.executable, "-m", "tests.e2e.hog", str(cgroup), str(times)],
                    directory / f"hog-{name}.log",
                    cwd=ROOT,
                )
            )
            for name, (cgroup, _) in before.items()
        ]
        for hog in hogs:
            assert hog.wait(MAX_WAIT_SECONDS) == 0
    for cgroup, count in before.values():
        assert not cgroup.exists() or kills(cgroup) - count >= times


@contextmanager
def full_disk(node: Node) -> Iterator[None]:
    """The node's disk has no byte left."""
    # The disk is mounted for the node alone: it is reached by the root directory of its first process.
    filler = Path(f"/proc/{node.process_id}/root{node.directory}/disk/filler")
    try:
        with filler.open("wb", buffering=0) as file:
            size = os.statvfs(filler)
            os.posix_fallocate(file.fileno(), 0, size.f_bavail * size.f_frsize - LEFT)
            file.seek(0, os.SEEK_END)
            while os.statvfs(filler).f_bavail:
                with suppress(OSError):  # there may be less left than is asked for
                    file.write(bytes(4096))
        yield
    finally:
        filler.unlink()


def served_certificate() -> str:
    """Return the certificate that the API server presents now, PEM."""
    return ssl.get_server_certificate((ADDRESS, API_PORT), timeout=MAX_WAIT_SECONDS)


def renew_api_certificate(node: Node) -> None:
    """Replace the API server's certificate, and wait until it presents the new one."""
    former = served_certificate()
    configuration.renew_api_certificate(node.directory)
    until(lambda: served_certificate() != former)


def tokens(node: Node, pods: list[JsonObject]) -> list[str]:
    """Return the ServiceAccount tokens that the pods' servers have as files."""
    return [Path(f"/proc/{node.container(pod)}/root/{TOKEN}").read_text() for pod in pods]


def renew_tokens(node: Node, pods: list[JsonObject]) -> None:
    """Have the kubelet write a new token for each pod: a kubelet that was restarted has forgotten those it had."""
    former = tokens(node, pods)
    node.restart_kubelet()
    wait_until_true(lambda: not set(former) & set(tokens(node, pods)), "the kubelet has renewed the tokens", 180)
