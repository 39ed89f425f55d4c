"""Events, which are optional."""

import asyncio
import json
from pathlib import Path

import pytest

from azure_workload_identity.cluster.client import Cluster
from azure_workload_identity.cluster.events import MAX_NOTE, Events, Subject
from testbed.processes import free_ports
from tests.support.apiserver import Answers, answering, write_kubeconfig


def warned(kubeconfig: Path, note: str) -> None:
    """Write a warning about a ConfigMap."""

    async def run() -> None:
        cluster = await Cluster.connect(str(kubeconfig))
        await Events(cluster, "system").warn(Subject("ConfigMap", "identities"), "InvalidIdentityMapping", note)
        await cluster.close()

    asyncio.run(run())


def test_warning(tmp_path: Path) -> None:
    """A warning is about an object of the server's namespace, and its text has a bound."""
    answers = Answers(201)
    with answering(answers, tmp_path) as kubeconfig:
        warned(kubeconfig, "x" * 5000)
    ((method, path, body),) = answers.sent
    event = json.loads(body)
    assert (method, path) == ("POST", "/api/v1/namespaces/system/events")
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "namespace": "system",
        "name": "identities",
    }
    assert (event["type"], event["reason"], len(event["message"])) == ("Warning", "InvalidIdentityMapping", MAX_NOTE)


def test_forbidden(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without the role to write Events nothing else changes; it is logged at level debug only."""
    caplog.set_level("DEBUG", "azure_workload_identity.cluster.events")
    with answering(Answers(403), tmp_path) as kubeconfig:
        warned(kubeconfig, "a note")
    assert caplog.messages == ["no Event InvalidIdentityMapping was written: HTTP 403"]


def test_unreachable(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An unreachable API server is logged at level debug only."""
    caplog.set_level("DEBUG", "azure_workload_identity.cluster.events")
    warned(write_kubeconfig(tmp_path, f"http://127.0.0.1:{free_ports(1)[0]}"), "a note")
    assert caplog.records[-1].levelname == "DEBUG"
