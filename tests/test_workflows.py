"""The workflows are pinned and have least permissions."""

import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from testbed.program import ROOT

WORKFLOWS: Final = sorted((ROOT / ".github" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_actions_are_pinned(file: Path) -> None:
    """Every action is pinned by the hash of a commit, with its version beside it."""
    used = re.findall(r"uses: (.+)", file.read_text())
    assert used
    assert not [line for line in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line)]


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_permissions(file: Path) -> None:
    """A workflow grants nothing, each of its jobs what it needs, and no checkout leaves credentials behind."""
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert job["permissions"]["contents"] == "read"
        assert "timeout-minutes" in job
        checkouts = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout@")]
        assert [step["with"] for step in checkouts] == [{"persist-credentials": False}]


def test_one_hash_for_an_action() -> None:
    """An action has the same hash and version in all workflows."""
    pins: dict[str, set[str]] = {}
    for file in WORKFLOWS:
        for action, pin in re.findall(r"uses: ([\w-]+/[\w-]+)[\w/-]*(@.+)", file.read_text()):
            pins.setdefault(action, set()).add(pin)
    assert len(pins) > 3
    assert [action for action, found in pins.items() if len(found) > 1] == []


def test_python_versions() -> None:
    """CI runs on every Python that the package declares."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    declared = re.findall(r"Python :: (3\.\d+)\"", (ROOT / "pyproject.toml").read_text())
    assert workflow["jobs"]["quick"]["strategy"]["matrix"]["python"] == declared


def test_kubernetes_versions() -> None:
    """CI runs on at least four minor versions of Kubernetes before the locked one, without a gap."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())
    versions = workflow["jobs"]["kubernetes"]["strategy"]["matrix"]["kubernetes"]
    locked = re.search(r"k8s\.io/kubernetes v1\.(\d+)", (ROOT / "tests" / "cluster" / "tools" / "go.mod").read_text())
    minors = [int(version.split(".")[1]) for version in versions]
    assert locked
    assert minors == list(range(minors[0], int(locked[1])))
    assert len(minors) >= 4


def test_support_table() -> None:
    """The manual calls tested the locked Kubernetes only, and names the versions that are left to CI."""
    page = (ROOT / "docs" / "install" / "upgrade.md").read_text()
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yaml").read_text())["jobs"]
    minors = [
        version.removeprefix("v").rpartition(".")[0]
        for version in matrix["kubernetes"]["strategy"]["matrix"]["kubernetes"]
    ]
    modules = (ROOT / "tests" / "cluster" / "tools" / "go.mod").read_text()
    locked = re.findall(r"k8s\.io/kubernetes v([\d.]+)", modules)[0]
    assert f"| Kubernetes | 1.29 or newer | {locked}, on a real API server" in page
    assert f"; {minors[0]} to {minors[-1]} are in the CI workflow" in page


def test_actionlint_is_locked() -> None:
    """It is a tool of a module with the checksums of all that it is built from."""
    folder = ROOT / ".github" / "actionlint"
    assert "tool github.com/rhysd/actionlint/cmd/actionlint" in (folder / "go.mod").read_text()
    assert "github.com/rhysd/actionlint v" in (folder / "go.sum").read_text()
