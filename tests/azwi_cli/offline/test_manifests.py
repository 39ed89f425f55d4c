"""Manifests as people write them."""

import json
from pathlib import Path

import pytest

from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError
from azwi_cli.offline import manifests

POD = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "app"}]}}


def found(document: JsonObject) -> list[tuple[str, str, object]]:
    """Return what the workloads of a document are called, and where and what their pods are."""
    return [(str(each), each.pointer, each.pod) for each in manifests.pod_templates(document, "shop")]


@pytest.mark.parametrize(
    "kind", ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "Rollout"]
)
def test_templates(kind: str) -> None:
    """The pod of a workload is its template, in kinds that are not known here, too."""
    document = {"kind": kind, "metadata": {"name": "x"}, "spec": {"template": POD}}
    assert found(document) == [(f"{kind} shop/x", "/spec/template", POD)]


def test_pod() -> None:
    """A pod is its own."""
    pod = {"kind": "Pod", **POD, "metadata": {"name": "x", "namespace": "other"}}
    assert found(pod) == [("Pod other/x", "", pod)]


def test_cron_job() -> None:
    """The pod of a CronJob lies deeper."""
    document = {"kind": "CronJob", "metadata": {"name": "x"}, "spec": {"jobTemplate": {"spec": {"template": POD}}}}
    assert found(document) == [("CronJob shop/x", "/spec/jobTemplate/spec/template", POD)]


def test_lists() -> None:
    """Lists are looked into, lists of lists too, and their pods have pointers from the outermost."""
    deployment = {"kind": "Deployment", "metadata": {"name": "x"}, "spec": {"template": POD}}
    document = {"kind": "List", "items": [{"kind": "Service"}, {"kind": "DeploymentList", "items": [deployment]}, 1]}
    assert found(document) == [("Deployment shop/x", "/items/1/items/0/spec/template", POD)]


@pytest.mark.parametrize("kind", ["Service", "ConfigMap", "Widget"])
def test_others(kind: str) -> None:
    """What has no pod is none."""
    assert found({"kind": kind, "spec": {"template": "text"}}) == []


def test_incomplete() -> None:
    """A workload without its pod is refused by name."""
    with pytest.raises(CommandError, match=r"CronJob x has no spec\.jobTemplate\.spec\.template"):
        found({"kind": "CronJob", "metadata": {"name": "x"}})


def test_files(tmp_path: Path) -> None:
    """Documents come from files of YAML and JSON and from directories of them, in order; empty ones are none."""
    (tmp_path / "b.json").write_text(json.dumps({"kind": "B"}))
    (tmp_path / "a.yaml").write_text("---\n---\nkind: A1\n---\nkind: A2\n")
    (tmp_path / "notes.txt").write_text("none")
    assert [each["kind"] for each in manifests.read([str(tmp_path)])] == ["A1", "A2", "B"]
    assert [each["kind"] for each in manifests.read([str(tmp_path / "b.json")])] == ["B"]


def test_dates_are_text(tmp_path: Path) -> None:
    """An annotation that looks like a date is the text that kubectl sends."""
    (tmp_path / "a.yaml").write_text("kind: A\nmetadata: {annotations: {built: 2026-01-02}}\n")
    assert manifests.read([str(tmp_path)])[0]["metadata"]["annotations"] == {"built": "2026-01-02"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "is not YAML"),
        ("\x00", "is not YAML"),
        ("text", "document 1 of .* is no Kubernetes object"),
        ("kind: A\n---\n[]", "document 2 of .* is no Kubernetes object"),
        ("metadata: {}", "document 1 of .* is no Kubernetes object"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_no_manifest(tmp_path: Path, text: str, message: str) -> None:
    """What is no manifest is refused with its place."""
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CommandError, match=message):
        manifests.read([str(tmp_path / "a.yaml")])


def test_deep(tmp_path: Path) -> None:
    """What is nested without end, which a loader would not survive, is refused."""
    (tmp_path / "a.yaml").write_text("kind: " + "[" * 100_000)
    with pytest.raises(CommandError, match="nested deeper than"):
        manifests.read([str(tmp_path / "a.yaml")])


def test_nothing_there(tmp_path: Path) -> None:
    """A missing file and a directory without manifests are named."""
    with pytest.raises(CommandError, match="No such file"):
        manifests.read([str(tmp_path / "none")])
    with pytest.raises(CommandError, match="has no manifests"):
        manifests.read([str(tmp_path)])
