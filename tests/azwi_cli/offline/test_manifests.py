"""Manifests of files, directories and stdin."""

import json
from pathlib import Path

import pytest

from azwi_cli.console.errors import CommandError
from azwi_cli.offline import manifests
from azwi_cli.offline.manifests import Manifests


def test_files(tmp_path: Path) -> None:
    """Documents come from files of YAML and JSON and from directories of them, in order, without the empty ones."""
    (tmp_path / "b.json").write_text(json.dumps({"kind": "B"}))
    (tmp_path / "a.yaml").write_text("---\n---\nkind: A1\n---\nkind: A2\n")
    (tmp_path / "notes.txt").write_text("none")
    assert [document["kind"] for document in manifests.read([str(tmp_path)]).objects] == ["A1", "A2", "B"]
    assert [document["kind"] for document in manifests.read([str(tmp_path / "b.json")]).objects] == ["B"]


def test_dates_are_text(tmp_path: Path) -> None:
    """An annotation that looks like a date is the text that kubectl sends."""
    (tmp_path / "a.yaml").write_text("kind: A\nmetadata: {annotations: {built: 2026-01-02}}\n")
    [document] = manifests.read([str(tmp_path)]).objects
    assert document["metadata"]["annotations"] == {"built": "2026-01-02"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", r"a\.yaml:2: did not find expected node content"),
        ("\x00", r"a\.yaml:1: it is not text: control characters are not allowed"),
        ("text", r"a\.yaml:1: this document is not a Kubernetes object"),
        ("kind: A\n---\n[]", r"a\.yaml:3: this document is not a Kubernetes object"),
        ("metadata: {}", r"a\.yaml:1: this document is not a Kubernetes object"),
        ("[" * 5000, r"a\.yaml:1: it is nested deeper than 200"),
        ("kind: A\nmetadata:\n  name: a\n  name: b\n", r"a\.yaml:4: the key 'name' is given twice"),
        ("kind: " + "[" * 100_000, r"a\.yaml:1: it is nested deeper than 200"),
    ],
)
def test_no_manifest(tmp_path: Path, text: str, message: str) -> None:
    """A file that is not a manifest is refused with the place and the reason."""
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(CommandError, match=message):
        manifests.read([str(tmp_path / "a.yaml")])


def test_other_files_of_a_directory(tmp_path: Path) -> None:
    """In a directory, Helm's values are skipped and named, and an identity mapping may be there."""
    (tmp_path / "mapping.yaml").write_text("mappings: []\n")
    (tmp_path / "pod.yaml").write_text("kind: Pod\n")
    (tmp_path / "values.yaml").write_text("# a comment\nreplicas: 2\n")
    place = f"{tmp_path / 'values.yaml'}:2"
    skipped = f"{place}: skipped, since it is not a Kubernetes object (it has no kind)"
    assert manifests.read([str(tmp_path)]) == Manifests(({"kind": "Pod"},), (skipped,))
    with pytest.raises(CommandError, match="not a Kubernetes object") as refused:
        manifests.read([str(tmp_path / "mapping.yaml")])
    assert refused.value.hint == "give it with --identity-mapping"


def test_nothing_there(tmp_path: Path) -> None:
    """A missing file and a directory without manifests are named."""
    with pytest.raises(CommandError, match="No such file"):
        manifests.read([str(tmp_path / "none")])
    with pytest.raises(CommandError, match="has no manifests"):
        manifests.read([str(tmp_path)])
