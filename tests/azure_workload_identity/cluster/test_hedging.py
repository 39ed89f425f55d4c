"""A GET over several connections."""

import asyncio
from pathlib import Path

import pytest

from azure_workload_identity.cluster import hedging
from azure_workload_identity.cluster.client import Cluster, ClusterUnavailableError
from azure_workload_identity.cluster.hedging import MAX_ATTEMPTS, hedged_get
from testbed.processes import MAX_WAIT_SECONDS, free_ports
from tests.support.apiserver import Answers, answering, write_kubeconfig

PATH = "/api/v1/namespaces/shop/serviceaccounts/web"


async def _get(kubeconfig: Path) -> int:
    connection = await Cluster.connect(str(kubeconfig))
    try:
        return (await hedged_get(connection, PATH)).status
    finally:
        await connection.close()


def test_healthy(tmp_path: Path) -> None:
    """An API server that answers is asked once, whatever it answers."""
    answers = Answers(status=500)
    with answering(answers, tmp_path) as kubeconfig:
        assert asyncio.run(_get(kubeconfig)) == 500
    assert len(answers.asked) == 1


def test_standing_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that is not answered does not delay the answer of another for long."""
    monkeypatch.setattr(hedging, "HEDGE_SECONDS", 0.01)
    monkeypatch.setattr("azure_workload_identity.cluster.client.READ_SECONDS", MAX_WAIT_SECONDS)
    answers = Answers(silent=1)
    with answering(answers, tmp_path) as kubeconfig:
        assert asyncio.run(_get(kubeconfig)) == 200
    assert 2 <= len(answers.asked) <= MAX_ATTEMPTS


def test_broken_connections(tmp_path: Path) -> None:
    """A connection that breaks is followed by another at once, and an error is raised after the last."""
    answers = Answers()
    with answering(answers, tmp_path) as kubeconfig:
        answers.gone.set()  # connections are closed without an answer
        with pytest.raises(ClusterUnavailableError, match="ServerDisconnectedError"):
            asyncio.run(_get(kubeconfig))


def test_refused(tmp_path: Path) -> None:
    """Where nobody listens, the error comes at once."""
    kubeconfig = write_kubeconfig(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(ClusterUnavailableError, match="ClientConnectorError"):
        asyncio.run(_get(kubeconfig))
