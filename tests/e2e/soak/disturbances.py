"""Rollouts and kills at intervals."""

import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError
from testbed.cluster.server import wait_until_true
from tests.cluster.support.node.node import Node
from tests.cluster.support.release import Release
from tests.e2e.installed import pods, values, wait
from tests.e2e.test_upgrades import gone, names_of, was_restarted

CYCLE_SECONDS: Final = 600.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Event:
    """A disturbance: what was done, from when until when everything was ready again, in seconds since the start.

    `problem` says why it did not become ready; empty if it did.
    """

    name: str
    begun: float
    ended: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """A release on a node, with the chart's values that it was installed with."""

    node: Node
    release: Release
    chart: Mapping[str, Any]


def roll_out(target: Target, number: int) -> None:
    """Replace every pod by `helm upgrade`."""
    before = names_of(pods(target.release))
    target.release.apply("upgrade", **values(**target.chart, podAnnotations={"example.com/version": str(number)}))
    wait(target.release)
    gone(target.release, before)


def kill_server(target: Target, number: int) -> None:
    """End a replica's server as a crash does; its supervisor starts another."""
    found = pods(target.release)
    victim = found[number % len(found)]
    first = target.node.server(victim)
    os.kill(first, signal.SIGKILL)
    wait_until_true(lambda: _server(target.node, victim) not in {0, first}, "another server runs")


def _server(node: Node, pod: JsonObject) -> int:
    try:
        return node.server(pod)
    except (OSError, IndexError):
        return 0


def kill_container(target: Target, number: int) -> None:
    """End a replica's container; the kubelet starts it again."""
    found = pods(target.release)
    victim = found[number % len(found)]
    os.kill(target.node.container(victim), signal.SIGKILL)
    wait_until_true(lambda: was_restarted(target.release, victim), "it is ready again")


KILLS: Final = frozenset({kill_server.__name__, kill_container.__name__})
# What happens in a cycle, and at which part of it.
CYCLE: Final[tuple[tuple[float, Callable[[Target, int], None]], ...]] = (
    (0.1, roll_out),
    (0.4, kill_server),
    (0.6, kill_server),
    (0.8, kill_container),
)


def disturb(target: Target, begun: float, seconds: float) -> list[Event]:
    """Run cycles of CYCLE until so many seconds after `begun` (monotonic); return what was done."""
    cycle = min(CYCLE_SECONDS, seconds / 3)
    planned = [(cycle * (number + part), action) for number in range(round(seconds / cycle)) for part, action in CYCLE]
    events = []
    for number, (due, action) in enumerate(planned):
        time.sleep(max(0.0, begun + due - time.monotonic()))
        started, problem = time.monotonic() - begun, ""
        try:
            action(target, number)
        except (AssertionError, OSError, LookupError, ApiError) as error:  # TimeoutError is an OSError
            problem = f"{type(error).__name__}: {error}"
        events.append(Event(action.__name__, started, time.monotonic() - begun, problem))
        log.info("%6.0f s  %s %s", started, action.__name__, problem)
    time.sleep(max(0.0, begun + seconds - time.monotonic()))
    return events
