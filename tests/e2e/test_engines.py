"""What creations meet by engine while the webhook's pods, or the way to them, are away.

ENGINE_FAULT_SECONDS says how long each is away; `make engine-faults-node` takes 60.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from typing import Final

import pytest

from azure_workload_identity import names
from bench.engines import BOTH, POLICY, WEBHOOK
from testbed.cluster.server import wait_until_true
from tests.cluster.support.load import continuous
from tests.cluster.support.mutation import mutated
from tests.cluster.support.node.node import Node
from tests.cluster.support.release import Release, released
from tests.e2e.installed import DEPLOYMENT, SELECTOR, installed, pods, wait
from tests.e2e.report import note

SECONDS: Final = float(os.environ.get("ENGINE_FAULT_SECONDS", "6"))
PAUSE_SECONDS: Final = 0.1
# The pods are stored but never scheduled: only their creation is tested.
NEVER: Final = [{"name": "azwi.test/never"}]


@pytest.fixture(scope="module")
def releases(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Release]]:
    """Install the chart once for each engine, each for namespaces of its own."""
    directory = tmp_path_factory.mktemp("engines")
    with ExitStack() as stack:
        yield {
            POLICY: stack.enter_context(released(node.cluster, directory, engine=POLICY)),
            **{
                engine: stack.enter_context(installed(node.cluster, directory, engine=engine))
                for engine in (WEBHOOK, BOTH)
            },
        }


@contextmanager
def scaled_to_zero(_: Node, releases: list[Release]) -> Iterator[None]:
    """No replica is wanted."""
    for release in releases:
        _scale(release, 0)
    wait_until_true(lambda: not any(pods(release) for release in releases), "no server runs")
    yield
    for release in releases:
        _scale(release, 2)


def _scale(release: Release, replicas: int) -> None:
    release.control_plane.kubectl("scale", DEPLOYMENT, f"--namespace={release.namespace}", f"--replicas={replicas}")


@contextmanager
def deleted(_: Node, releases: list[Release]) -> Iterator[None]:
    """Every replica was deleted at once, without a time to drain."""
    for release in releases:
        release.control_plane.kubectl(
            "delete", "pods", SELECTOR, f"--namespace={release.namespace}", "--grace-period=0", "--force"
        )
    yield


@contextmanager
def cut_off(node: Node, _: list[Release]) -> Iterator[None]:
    """What the API server sends to the servers is dropped, as by a NetworkPolicy."""
    rule = ("OUTPUT", "--protocol", "tcp", "--dport", str(names.WEBHOOK_PORT), "--jump", "DROP")
    node.in_network("iptables", "--wait", "--insert", *rule)
    try:
        yield
    finally:
        node.in_network("iptables", "--wait", "--delete", *rule)


def injects(engine: str, release: Release, namespace: str) -> bool:
    """Whether pods get their identity, from policies where the engine has them."""
    return mutated(release, namespace) and (engine == WEBHOOK or release.policy_injects())


@pytest.mark.parametrize("fault", [scaled_to_zero, deleted, cut_off], ids=["scaled to 0", "deleted", "cut off"])
def test_away(
    node: Node,
    releases: Mapping[str, Release],
    fault: Callable[[Node, list[Release]], AbstractContextManager[None]],
) -> None:
    """No plain pod is refused or without its identity where policies inject, alone or beside the webhook."""
    servers = [releases[WEBHOOK], releases[BOTH]]
    with ExitStack() as stack:
        created = {}
        for engine, release in releases.items():
            namespace = release.workload_namespace()
            wait_until_true(partial(injects, engine, release, namespace), engine)
            created[engine] = stack.enter_context(
                continuous(node.cluster, namespace, 1, PAUSE_SECONDS, schedulingGates=NEVER)
            )
        with fault(node, servers):
            time.sleep(SECONDS)
            if fault is not deleted:  # whose replacements may serve before the first call
                wait_until_true(lambda: created[WEBHOOK].failures != [], "a creation is refused")
    for release in servers:
        wait(release)
    for engine, count in created.items():
        note(f"webhook {fault.__name__}, engine {engine}: {len(count.failures)} of {count.count} refused")
    assert (created[POLICY].failures, created[BOTH].failures) == ([], [])
    assert created[WEBHOOK].failures
