"""The identity mapping in a ConfigMap, at start."""

import asyncio
import json
from pathlib import Path

import pytest

from azure_workload_identity.cluster import retry
from azure_workload_identity.cluster.client import Cluster
from azure_workload_identity.cluster.events import Events
from tests.support.apiserver import Answers, answering
from webhook.admission.identity import IdentityMapping
from webhook.runtime.mapping_watch import MappingError, MappingWatch

CLIENT = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"
DOCUMENT = f"mappings:\n- namespace: shop\n  clientId: {CLIENT}\n"
STORED = json.dumps({"metadata": {"name": "identities"}, "data": {"mapping.yaml": DOCUMENT}}).encode()


def loaded(answers: Answers, directory: Path) -> tuple[list[IdentityMapping], list[tuple[int, int]]]:
    """Load the mapping from these answers; return the mappings in force and their counts, in turn."""
    mappings, counts = list[IdentityMapping](), list[tuple[int, int]]()

    async def run() -> None:
        with answering(answers, directory) as kubeconfig:
            cluster = await Cluster.connect(str(kubeconfig))
            watch = MappingWatch(
                cluster,
                Events(cluster, "system"),
                ("system", "identities"),
                mappings.append,
                lambda *count: counts.append(count),
            )
            try:
                await watch.load()
            finally:
                await cluster.close()

    asyncio.run(run())
    return mappings, counts


@pytest.mark.parametrize("broken", [b"<html>", b"", b"[]", STORED[:-20], b'{"metadata": 7}'])
def test_broken_answer(tmp_path: Path, broken: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A broken answer, as of something in between, does not end the server: it is retried until it is right."""
    mappings, counts = loaded(Answers(200, STORED, script=[(200, broken)] * 2), tmp_path)
    assert mappings[-1].find("shop", "web") is not None
    assert counts == [(1, 0)]
    assert "the answer is not a ConfigMap" in caplog.messages[0]


def test_missing(tmp_path: Path) -> None:
    """Without the ConfigMap there is no mapping, and the server starts."""
    mappings, counts = loaded(Answers(404), tmp_path)
    assert mappings[-1].find("shop", "web") is None
    assert counts == [(0, 0)]


def test_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing role ends the start, with what to grant."""
    monkeypatch.setattr(retry, "DENIED_SECONDS", 0.01)
    with pytest.raises(MappingError, match="by resourceNames"):
        loaded(Answers(403), tmp_path)
