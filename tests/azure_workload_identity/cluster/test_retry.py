"""Retries while the API server is unreachable."""

import asyncio

import pytest

from azure_workload_identity.cluster import retry as module
from azure_workload_identity.cluster.client import ClusterUnavailableError
from azure_workload_identity.cluster.retry import retry
from testbed.processes import MAX_WAIT_SECONDS


class DeniedError(Exception):
    """A role is missing."""


def attempts(*outcomes: Exception | str) -> tuple[str, int]:
    """Try until one of the outcomes is no failure: it, and how many tries it took."""
    left = list(outcomes)

    async def attempt() -> str:
        outcome = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return asyncio.run(retry(attempt, DeniedError)), len(outcomes) - len(left)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_WAIT", 0.001)
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.002)


def test_unavailable(caplog: pytest.LogCaptureFixture) -> None:
    """An unreachable API server is retried, which is logged once."""
    away = ClusterUnavailableError("GET", "/version", "ClientConnectorError")
    assert attempts(away, away, away, "there") == ("there", 3)
    assert caplog.messages == ["waiting: the API server did not answer GET /version: ClientConnectorError"]


def test_denied_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that has only just started denies at first."""
    monkeypatch.setattr(module, "DENIED_SECONDS", MAX_WAIT_SECONDS)
    assert attempts(DeniedError("no role"), DeniedError("no role"), "there")[0] == "there"


def test_denied_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that is missing for longer is missing."""
    monkeypatch.setattr(module, "DENIED_SECONDS", 0.05)
    with pytest.raises(DeniedError, match="no role"):
        attempts(DeniedError("no role"))


def test_other_failures() -> None:
    """Any other failure is one."""
    with pytest.raises(KeyError):
        attempts(KeyError("x"))
