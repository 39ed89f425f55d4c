"""What creations meet by engine while something is away: the table of `make engine-faults`, for a short time."""

import pytest

from bench import engine_faults
from bench.engine_faults import Count
from bench.engines import BOTH, POLICY, WEBHOOK
from testbed.cluster.control_plane import ControlPlane

SECONDS = 2.0
ACCOUNTS = 20


@pytest.fixture(scope="module")
def table(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Count]]:
    """Run through all faults once."""
    directory = tmp_path_factory.mktemp("engine-faults")
    return {fault: dict(counts) for fault, counts in engine_faults.faults(control_plane, directory, SECONDS, ACCOUNTS)}


def test_pods_that_need_no_webhook(table: dict[str, dict[str, Count]]) -> None:
    """Whatever is away, no plain pod is refused where policies inject, alone or beside the webhook."""
    refused = {
        (fault, engine): counts[engine].examples
        for fault, counts in table.items()
        for engine in (POLICY, BOTH)
        # Alone they know an account only from their API server's watch; the guard refuses what it has not seen yet.
        if not all(engine == POLICY and "token-missing" in message for message in counts[engine].examples)
    }
    assert refused == {}
    assert all(counts[engine].created > 0 for counts in table.values() for engine in (POLICY, BOTH))


def test_no_pod_without_token(table: dict[str, dict[str, Count]]) -> None:
    """Whatever is away, and by every engine: a pod that is created has its token."""
    assert {fault: sum(count.without_token for count in counts.values()) for fault, counts in table.items()} == (
        dict.fromkeys(table, 0)
    )


def test_webhook_that_is_away(table: dict[str, dict[str, Count]]) -> None:
    """Where the webhook alone injects, its outage refuses pods: so the faults are real."""
    outages = [counts[WEBHOOK] for fault, counts in table.items() if "webhook" in fault]
    assert [count.created for count in outages] == [0, 0, 0]
    assert all(count.refused > 0 for count in outages)
