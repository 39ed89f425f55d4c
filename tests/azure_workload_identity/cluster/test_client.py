"""Requests to the API server whose token was replaced."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trustme
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import incluster_config

from azure_workload_identity.cluster.client import JSON, Cluster
from tests.support.apiserver import Answers, answering

DENIED = (401, b"{}")


def _tokens(answers: Answers) -> list[str]:
    return [headers["authorization"] for _, headers in answers.asked]


def _url(kubeconfig: Path) -> str:
    url: str = json.loads(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    return url


def _run(kubeconfig: Path, tokens: list[str], work: Callable[[Cluster], Awaitable[int]]) -> int:
    """Run with a client whose token is the next one each time it is loaded, as long as there is one."""
    configuration = Configuration()
    configuration.host = _url(kubeconfig)

    def load() -> None:
        if tokens:
            configuration.api_key["BearerToken"] = f"bearer {tokens.pop(0)}"

    async def run() -> int:
        cluster = Cluster(configuration, load)
        try:
            return await work(cluster)
        finally:
            await cluster.close()

    load()
    return asyncio.run(run())


async def _status(cluster: Cluster) -> int:
    return (await cluster.get("/version")).status


@pytest.mark.parametrize("answer", [(200, b"{}"), (401, b"{}")])
def test_replaced_token(tmp_path: Path, answer: tuple[int, bytes]) -> None:
    """A request that is denied with a token that was replaced is sent once more, with the new one."""
    answers = Answers(*answer, script=[DENIED])
    with answering(answers, tmp_path) as kubeconfig:
        assert _run(kubeconfig, ["former", "new", "later"], _status) == answer[0]
    assert _tokens(answers) == ["bearer former", "bearer new"]


def test_denied_token(tmp_path: Path) -> None:
    """A request that is denied with the token that is there is not repeated."""
    answers = Answers(*DENIED)
    with answering(answers, tmp_path) as kubeconfig:
        assert _run(kubeconfig, ["only"], _status) == 401
    assert _tokens(answers) == ["bearer only"]


def test_watch_with_a_replaced_token(tmp_path: Path) -> None:
    """A watch that is denied reports it, and the next attempt has the new token."""
    answers = Answers(script=[DENIED])

    async def watch(cluster: Cluster) -> int:
        async with cluster.lines("/watch", JSON) as (denied, _):
            assert denied == 401
        async with cluster.lines("/watch", JSON) as (status, _):
            return status

    with answering(answers, tmp_path) as kubeconfig:
        assert _run(kubeconfig, ["former", "new"], watch) == 200
    assert _tokens(answers) == ["bearer former", "bearer new"]


def test_token_of_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a pod a denied token is read from its file again, also within the minute for which the client keeps it."""
    answers = Answers(script=[DENIED])
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("former")
    trustme.CA().cert_pem.write_to_path(str(authority))
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")

    async def run(url: str) -> int:
        cluster = await Cluster.connect("")
        cluster._host = url  # the stand-in speaks plain HTTP
        token.write_text("new")
        try:
            return await _status(cluster)
        finally:
            await cluster.close()

    with answering(answers, tmp_path) as kubeconfig:
        assert asyncio.run(run(_url(kubeconfig))) == 200
    assert _tokens(answers) == ["bearer former", "bearer new"]
