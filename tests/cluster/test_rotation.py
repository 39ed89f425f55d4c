"""Certificates that live seconds, replicas that come and go, and pods that are created all the time."""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from certs.secret_keys import CA, LEAF
from testbed.cluster.control_plane import ControlPlane
from tests.cluster.support.installation import Installation, Replica, installed
from tests.cluster.support.load import continuous

SECONDS = 60.0
LONGEST = 600.0
ROTATIONS = 5
# A CA is announced with a third of its life left: every 20 s; a leaf is renewed after 10 s, and on promotion.
LIFETIMES = ("--ca-lifetime=30s", "--cert-lifetime=15s", "--drain-period=2s")

log = logging.getLogger(__name__)


@pytest.fixture
def installation(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Installation]:
    """Create an installation without a replica."""
    with installed(control_plane, tmp_path) as created:
        yield created


def test_rotation_under_load(installation: Installation) -> None:
    """While CA and leaf rotate five times and replicas are replaced in turn, no creation of a pod fails."""
    namespace = installation.workload_namespace()
    authorities: set[bytes] = set()
    leaves: set[bytes] = set()
    replaced = 0
    with ExitStack() as stack:
        replicas = [stack.enter_context(installation.replica(*LIFETIMES)) for _ in range(2)]
        begun = time.monotonic()
        with continuous(installation.control_plane, namespace) as created:
            while not _is_enough(time.monotonic() - begun, authorities):
                for _ in range(10):
                    certificates = installation.certificates()
                    authorities.add(certificates[CA])
                    leaves.add(certificates[LEAF])
                    time.sleep(0.5)
                replicas = _replaced(installation, stack, replicas)
                replaced += 1
            took = time.monotonic() - begun
    log.info(
        "%d pods in %.0f s, %d failed, slowest %.2f s; %d CAs, %d leaves, %d replicas replaced",
        created.count,
        took,
        len(created.failures),
        created.slowest,
        len(authorities),
        len(leaves),
        replaced,
    )
    assert created.failures == []
    assert len(authorities) > ROTATIONS
    assert len(leaves) > ROTATIONS


def _is_enough(seconds: float, authorities: set[bytes]) -> bool:
    return seconds > LONGEST or (seconds > SECONDS and len(authorities) > ROTATIONS)


def _replaced(installation: Installation, stack: ExitStack, replicas: list[Replica]) -> list[Replica]:
    """Start a new replica, then end the oldest, as a rolling update does."""
    oldest, *others = replicas
    new = stack.enter_context(installation.replica(*LIFETIMES))
    assert installation.retire(oldest) == 0
    return [*others, new]
