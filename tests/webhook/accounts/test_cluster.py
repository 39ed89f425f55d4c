"""Accounts by live reads, against an API server that behaves and one that does not."""

import asyncio
import json
from pathlib import Path
from typing import TypeVar

import pytest

from azure_workload_identity.cluster import hedging
from azure_workload_identity.cluster.client import Cluster
from testbed.processes import MAX_WAIT_SECONDS, free_ports, until_in_loop
from tests.support.apiserver import Answers, answering, write_kubeconfig
from webhook.accounts import cluster as accounts_cluster
from webhook.accounts.cluster import AccountCache, ClusterAccounts
from webhook.admission.identity import Account, AccountsUnavailableError

CLIENT = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"
METADATA = json.dumps({"metadata": {"annotations": {"azure.workload.identity/client-id": CLIENT}}}).encode()
T = TypeVar("T")


async def _found(kubeconfig: Path) -> Account | None:
    connection = await Cluster.connect(str(kubeconfig))
    accounts = ClusterAccounts(connection, AccountCache(), lambda _: None)
    try:
        return await accounts.find("shop", "web")
    finally:
        await accounts.close()
        await connection.close()


async def _version(kubeconfig: Path) -> tuple[int, int] | None:
    connection = await Cluster.connect(str(kubeconfig))
    try:
        return await connection.version()
    finally:
        await connection.close()


def test_account(tmp_path: Path) -> None:
    """An account is read by its path, metadata only, with the server's own token."""
    answers = Answers(body=METADATA)
    with answering(answers, tmp_path) as kubeconfig:
        assert asyncio.run(_found(kubeconfig)) == Account(client_id=CLIENT)
    path, headers = answers.asked[0]
    assert path == "/api/v1/namespaces/shop/serviceaccounts/web"
    assert headers["Accept"] == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    assert headers["authorization"].lower() == "bearer t0ken"
    assert headers["User-Agent"].startswith("azwi-webhook/")


def test_no_account(tmp_path: Path) -> None:
    """An account that the API server does not find is missing."""
    with answering(Answers(status=404), tmp_path) as kubeconfig:
        assert asyncio.run(_found(kubeconfig)) is None


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (403, b"{}", r"does not let the webhook read ServiceAccount shop/web \(HTTP 403\): grant"),
        (401, b"{}", r"\(HTTP 401\)"),
        (500, b"{}", "answered GET /api/v1/namespaces/shop/serviceaccounts/web with HTTP 500"),
        (429, b"{}", "HTTP 429"),
        (200, b"<html>", "is no ServiceAccount"),
        (200, b"[]", "is no ServiceAccount"),
        (200, b"{}", "is no ServiceAccount"),
        (200, b'{"metadata": []}', "is no ServiceAccount"),
        (200, b"\xff", "is no ServiceAccount"),
    ],
)
def test_other_answers(tmp_path: Path, status: int, body: bytes, message: str) -> None:
    """Any other answer is an error that names it, without a token."""
    with answering(Answers(status, body), tmp_path) as kubeconfig:
        with pytest.raises(AccountsUnavailableError, match=message) as raised:
            asyncio.run(_found(kubeconfig))
        assert "t0ken" not in str(raised.value)


def test_slow_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer in time is given up."""
    monkeypatch.setattr(accounts_cluster, "FIND_SECONDS", 0.2)
    with (
        answering(Answers(seconds=MAX_WAIT_SECONDS), tmp_path) as kubeconfig,
        pytest.raises(AccountsUnavailableError, match="TimeoutError"),
    ):
        asyncio.run(_found(kubeconfig))


def test_no_server(tmp_path: Path) -> None:
    """A server that cannot be reached is an error at once."""
    kubeconfig = write_kubeconfig(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(AccountsUnavailableError, match="did not answer"):
        asyncio.run(_found(kubeconfig))


async def _found_in_turn(answers: Answers, kubeconfig: Path) -> list[Account | str | None]:
    """What an admission finds, and what two find that come after its read was sent."""
    connection = await Cluster.connect(str(kubeconfig))
    accounts = ClusterAccounts(connection, AccountCache(), lambda _: None)
    try:
        first = asyncio.create_task(accounts.find("shop", "web"))
        await until_in_loop(lambda: answers.asked)
        later = [asyncio.create_task(accounts.find("shop", "web")) for _ in range(2)]
        found = await asyncio.gather(first, *later, return_exceptions=True)
        return [str(item) if isinstance(item, BaseException) else item for item in found]
    finally:
        await accounts.close()
        await connection.close()


def test_read_that_was_sent_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Admissions that come after a read was sent share another one, so that they see what was written in between."""
    monkeypatch.setattr(hedging, "HEDGE_SECONDS", MAX_WAIT_SECONDS)
    answers = Answers(body=METADATA, seconds=0.05, script=[(404, b"{}")])
    with answering(answers, tmp_path) as kubeconfig:
        assert asyncio.run(_found_in_turn(answers, kubeconfig)) == [None, *[Account(client_id=CLIENT)] * 2]
    assert len(answers.asked) == 2


def test_failed_read_that_was_sent_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the read under way fails, those who wait for the next one fail as well: none waits twice."""
    monkeypatch.setattr(hedging, "HEDGE_SECONDS", MAX_WAIT_SECONDS)
    answers = Answers(status=500, seconds=0.05)
    with answering(answers, tmp_path) as kubeconfig:
        found = asyncio.run(_found_in_turn(answers, kubeconfig))
    assert len(set(found)) == 1
    assert "HTTP 500" in str(found[0])
    assert len(answers.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "version"),
    [
        (200, b'{"major": "1", "gitVersion": "v1.36.3"}', (1, 36)),
        (200, b'{\n  "gitVersion": "v1.29.0-gke.1"\n}', (1, 29)),
        (200, b'{"gitVersion": "latest"}', None),
        (200, b"junk", None),
        (403, b'{"gitVersion": "v1.36.3"}', None),
    ],
)
def test_version(tmp_path: Path, status: int, body: bytes, version: tuple[int, int] | None) -> None:
    """The cluster's version is read from its gitVersion; what is not there is not known."""
    with answering(Answers(status, body), tmp_path) as kubeconfig:
        assert asyncio.run(_version(kubeconfig)) == version


def test_version_without_server(tmp_path: Path) -> None:
    """The version of a server that is not there is not known."""
    kubeconfig = write_kubeconfig(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}")
    assert asyncio.run(_version(kubeconfig)) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "clusters: 7"])
def test_broken_kubeconfig(tmp_path: Path, text: str) -> None:
    """An invalid kubeconfig is refused with a sentence."""
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"no usable cluster configuration in .*kubeconfig: "):
        asyncio.run(_found(path))


def test_in_a_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod without a token the sentence names it."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ValueError, match="Service token file does not exist"):
        asyncio.run(Cluster.connect(""))
