"""Pods are created, every second one right after its account, while something happens to the node.

CHAOS_SECONDS says how long a fault lasts; `make chaos` takes 15 and adds the faults that are not cheap.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import UNTIL_TIMEOUT
from testbed.cluster.server import wait_until_true
from tests.cluster.support import pairs
from tests.cluster.support.load import IN_FLIGHT
from tests.cluster.support.mutation import wait_until_mutated
from tests.cluster.support.node.node import Node
from tests.cluster.support.pairs import CLIENTS, Seen
from tests.cluster.support.release import Release
from tests.e2e import faults
from tests.e2e.azure import Azure
from tests.e2e.clock import Clock
from tests.e2e.installed import DEPLOYMENT, answer, installed, pods, wait
from tests.e2e.report import note
from tests.e2e.test_certificates import served
from tests.e2e.test_tokens import ENVIRONMENT, MANAGED_IDENTITY_ALONE
from tests.e2e.test_upgrades import KILLED_SECONDS, NEVER, TIMEOUT_SECONDS, status_of
from tests.e2e.workloads import FILES, container, pod, workloads

LONG: Final = "CHAOS_SECONDS" in os.environ
SECONDS: Final = float(os.environ.get("CHAOS_SECONDS", "1"))
AROUND_SECONDS: Final = 1.0
RECOVERY_SECONDS: Final = 120.0
# Nothing answers: before kube-proxy knows that a replica is not ready, and after.
AWAY: Final = f"{IN_FLIGHT}|connection refused|context deadline exceeded"
FLUSHES: Final = 3
HOUR: Final = 3600
# Prints the status of the proxy's answer to a request for a token.
ASK: Final = """
import sys, urllib.error, urllib.request
url = f"http://localhost:8000/metadata/identity/oauth2/token?api-version=2018-02-01&resource={sys.argv[1]}"
try:
    print(urllib.request.urlopen(urllib.request.Request(url, headers={"Metadata": "true"}), timeout=30).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
only_long: Final = pytest.mark.skipif(not LONG, reason="takes long, for make chaos")


@dataclass
class Run:
    """What clients see of a fault, and how long it takes until everything is as before."""

    seen: Seen
    begun: float
    recovered: float = 0.0

    def over(self) -> None:
        """The fault is over: from now on it is recovered from."""
        self.begun = time.monotonic()

    def until(self, happened: Callable[[], bool], what: str) -> None:
        """Wait until it has recovered."""
        wait_until_true(happened, what, RECOVERY_SECONDS)
        self.recovered = time.monotonic() - self.begun


@contextmanager
def meanwhile(release: Release, what: str) -> Iterator[Run]:
    """Create pods before, during and after a fault, and note the row of the table."""
    cluster, namespace = release.control_plane, release.workload_namespace()
    wait_until_mutated(release, namespace)
    with pairs.creating(cluster.http, [cluster.url], namespace, schedulingGates=NEVER) as seen:
        time.sleep(AROUND_SECONDS)
        run = Run(seen, time.monotonic())
        yield run
        time.sleep(AROUND_SECONDS)
    note(seen.row(what, f"{run.recovered:.1f} s"))
    for failure in seen.failures[:CLIENTS]:
        note(failure.message)
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")
    assert seen.pods
    assert seen.without_client_id == []


@pytest.fixture(scope="module")
def serving(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Install the chart with its defaults."""
    note(pairs.head("Recovered after"))
    with installed(node.cluster, tmp_path_factory.mktemp("chaos")) as release:
        yield release


@pytest.fixture
def fresh(serving: Release) -> Release:
    """Replace the replicas: none has crashed yet."""
    former = {item["metadata"]["name"] for item in pods(serving)}
    serving.control_plane.kubectl("rollout", "restart", DEPLOYMENT, f"--namespace={serving.namespace}")
    wait_until_true(lambda: not former & {item["metadata"]["name"] for item in pods(serving)}, "they are new")
    wait(serving)
    return serving


@only_long
def test_kubelet(node: Node, serving: Release) -> None:
    """A kubelet that is killed fails no creation, and neither restarts nor removes a replica."""
    before = pods(serving)
    with meanwhile(serving, "the kubelet is killed") as run:
        node.restart_kubelet()
        run.until(lambda: faults.kubelet_is_healthy(node), "the kubelet answers")
        time.sleep(SECONDS)
    assert run.seen.failures == []
    assert [status_of(serving, item)["restartCount"] for item in before] == [0, 0]


@only_long
def test_connections(node: Node, serving: Release) -> None:
    """Connections that the kernel forgets fail at most the requests in flight."""
    with meanwhile(serving, f"every connection is flushed, {FLUSHES} times") as run:
        for _ in range(FLUSHES):
            faults.flush_connections(node)
            time.sleep(SECONDS)
        run.over()
        run.until(lambda: answer(pods(serving)), "the replicas answer")
    assert run.seen.other_than(f"{IN_FLIGHT}|context deadline exceeded") == []
    assert len(run.seen.failures) <= CLIENTS * FLUSHES


def test_dns(node: Node, serving: Release) -> None:
    """The webhook needs no DNS: without it no creation fails, and a replica starts."""
    with meanwhile(serving, "DNS is away, and a replica is replaced" if LONG else "DNS is away") as run:
        with faults.without_dns(node):
            if LONG:
                victim = pods(serving)[0]["metadata"]["name"]
                serving.control_plane.kubectl("delete", "pod", victim, f"--namespace={serving.namespace}")
                wait(serving)
            time.sleep(SECONDS)
        run.over()
        run.until(lambda: answer(pods(serving)), "the replicas answer")
    assert run.seen.failures == []


@only_long
def test_out_of_memory(node: Node, serving: Release, tmp_path: Path) -> None:
    """When the kernel kills both servers for want of memory, creations fail at most until their replacements serve."""
    run = out_of_memory(node, serving, pods(serving), tmp_path, "both servers are killed for want of memory")
    assert run.seen.other_than(AWAY) == []
    assert run.seen.span <= run.recovered + TIMEOUT_SECONDS


def out_of_memory(node: Node, release: Release, replicas: list[JsonObject], directory: Path, what: str) -> Run:
    """Have servers killed, each for the first time: supervisors replace them, and no container is restarted."""
    former = [node.server(item) for item in replicas]
    with meanwhile(release, what) as run:
        faults.out_of_memory(replicas, directory)
        run.until(lambda: answer(replicas), "the replicas answer")
    assert not set(former) & {node.server(item) for item in replicas}
    assert [status_of(release, item)["restartCount"] for item in replicas] == [0] * len(replicas)
    return run


@only_long
def test_out_of_memory_alone(node: Node, fresh: Release, tmp_path: Path) -> None:
    """When the kernel kills one replica's server for want of memory, at most its requests in flight fail."""
    run = out_of_memory(node, fresh, pods(fresh)[:1], tmp_path, "one server is killed for want of memory")
    # A client loses the call in flight, and waits in vain at most where the replacement takes longer than a call may.
    assert run.seen.other_than(f"{IN_FLIGHT}|context deadline exceeded") == []
    assert len(run.seen.failures) <= CLIENTS * (1 + run.recovered // TIMEOUT_SECONDS)


@only_long
def test_out_of_memory_again(fresh: Release, tmp_path: Path) -> None:
    """When memory stays short, the second kill ends the container; the kubelet starts another, which has memory."""
    (victim, _) = pods(fresh)
    with meanwhile(fresh, "one server is killed for want of memory, and so is its replacement") as run:
        faults.out_of_memory([victim], tmp_path, times=2)
        run.until(lambda: _restarted(fresh, victim), "the container was restarted")
    assert run.seen.other_than(AWAY) == []
    assert run.seen.span <= run.recovered + KILLED_SECONDS


def _restarted(release: Release, replica: JsonObject) -> bool:
    status = status_of(release, replica)
    return bool(status["restartCount"] and status["ready"])


@only_long
def test_full_disk(node: Node, serving: Release) -> None:
    """While the node's disk is full no creation fails: the servers write only a log, and do not wait for it."""
    before = [node.server(item) for item in pods(serving)]
    with meanwhile(serving, "the node's disk is full") as run:
        with faults.full_disk(node):
            time.sleep(SECONDS)
        run.over()
        run.until(lambda: answer(pods(serving)), "the replicas answer")
    assert run.seen.failures == []
    assert [node.server(item) for item in pods(serving)] == before


@only_long
def test_api_certificate(node: Node, serving: Release) -> None:
    """The API server's new certificate, of the same CA, fails no creation, and a replica that starts trusts it."""
    with meanwhile(serving, "the API server's certificate is replaced, then a replica") as run:
        faults.renew_api_certificate(node)
        victim = pods(serving)[0]["metadata"]["name"]
        serving.control_plane.kubectl("delete", "pod", victim, f"--namespace={serving.namespace}")
        run.until(lambda: len(pods(serving)) == 2 and answer(pods(serving)), "the replicas answer")
    assert run.seen.failures == []


@only_long
def test_renewed_token(node: Node, serving: Release) -> None:
    """The kubelet renews the servers' tokens without a failure."""
    with meanwhile(serving, "the servers' tokens are renewed") as run:
        faults.renew_tokens(node, pods(serving))
        run.until(lambda: answer(pods(serving)), "the replicas answer")
        time.sleep(SECONDS)
    assert run.seen.failures == []


@only_long
def test_revoked_token(node: Node, fresh: Release) -> None:
    """Tokens that are revoked at once fail pods of new accounts until the kubelet has written others, and no longer."""
    account = pods(fresh)[0]["spec"]["serviceAccountName"]
    stored = fresh.get("serviceaccount", account)
    metadata = {key: stored["metadata"][key] for key in ("name", "labels", "annotations") if key in stored["metadata"]}
    with meanwhile(fresh, "the servers' tokens are revoked") as run:
        fresh.control_plane.kubectl("delete", "serviceaccount", account, f"--namespace={fresh.namespace}")
        again = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
        assert fresh.control_plane.create(fresh.namespace, again).returncode == 0
        faults.renew_tokens(node, pods(fresh))
        written = time.monotonic()
        time.sleep(SECONDS)
        run.recovered = max((failure.at for failure in run.seen.failures), default=run.begun) - run.begun
    assert run.seen.other_than("accounts-unavailable") == []
    assert [failure for failure in run.seen.failures if failure.at > written + TIMEOUT_SECONDS] == []


def is_stepped(release: Release, ahead: int) -> bool:
    """Whether the clock of each replica's last log line is ahead by about so many seconds."""
    lines = [
        release.control_plane.kubectl(
            "logs", item["metadata"]["name"], "--tail=1", f"--namespace={release.namespace}"
        ).stdout
        for item in pods(release)
    ]
    found = [datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() - time.time() for line in lines]
    return all(abs(by - ahead) < HOUR / 4 for by in found)


@only_long
def test_clock(node: Node, tmp_path: Path) -> None:
    """Servers whose clock is stepped by an hour, ahead and back, fail no creation, and renew certificates."""
    (tmp_path / "clock").mkdir()
    clock = Clock(tmp_path / "clock")
    release = Release(node.cluster, node.cluster.create_namespace(), tmp_path)
    lifetimes = {"caLifetime": "60s", "lifetime": "30s"}
    with installed(node.cluster, tmp_path, release=release, certificates=lifetimes, **clock.values()):
        for step in (HOUR, -HOUR, 0):
            with meanwhile(release, f"the servers' clocks are stepped to {step:+d} s, and certificates renewed") as run:
                clock.step(step)
                wait_until_true(lambda step=step: is_stepped(release, step), "the clocks are stepped")  # type: ignore[misc]
                former = served(release)
                run.until(lambda former=former: not former & served(release), "certificates were renewed")  # type: ignore[misc]
            assert run.seen.failures == []


@only_long
def test_proxy_without_dns(node: Node, release: Release, azure: Azure) -> None:
    """Without DNS the proxy gives out tokens that it has, fails others as transient, and gets them once DNS is back."""
    apps = workloads(release.control_plane, azure, release.workload_namespace())
    staying = container(f"{FILES}/look.py", "--stay", env=MANAGED_IDENTITY_ALONE)
    apps.create(pod("proxied", staying, annotations=ENVIRONMENT))
    apps.kubectl("wait", "--for=condition=Ready", "pod/proxied", UNTIL_TIMEOUT)

    def status(resource: str) -> str:
        return apps.kubectl("exec", "proxied", "--container=app", "--", "python3", "-c", ASK, resource).strip()

    assert status("https://vault.azure.net") == "200"
    with faults.without_dns(node):
        assert status("https://vault.azure.net") == "200"
        assert status("https://storage.azure.com") == "503"
    begun = time.monotonic()
    wait_until_true(lambda: status("https://storage.azure.com") == "200", "the proxy gets a token", RECOVERY_SECONDS)
    note(f"DNS was away: the proxy had a new token {time.monotonic() - begun:.1f} s after it was back")
    apps.kubectl("delete", "pod", "proxied", "--wait=false")
