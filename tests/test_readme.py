"""The README leads to every common task in at most two clicks."""

import re
from pathlib import Path
from typing import Final

import pytest

from testbed.program import ROOT

TASKS: Final = {
    "install": "docs/install/chart.md",
    "first pod": "docs/install/first-pod.md",
    "no AZURE_CLIENT_ID": "docs/operate/faq.md",
    "migrate": "docs/install/migrate.md",
    "upgrade": "docs/install/upgrade.md",
    "rotate": "docs/install/self-managed-issuer.md",
    "uninstall": "docs/install/uninstall.md",
    "kind": "docs/install/quickstart-kind.md",
}
HEADINGS: Final = {"no AZURE_CLIENT_ID": "no AZURE_CLIENT_ID", "rotate": "Rotate"}


def linked(page: Path) -> set[Path]:
    """Return the pages of the project that a page links to."""
    targets = re.findall(r"\]\((?![a-z]+:)([^)#\s]+\.md)", page.read_text())
    return {(page.parent / target).resolve() for target in targets}


@pytest.mark.parametrize("task", TASKS)
def test_clicks(task: str) -> None:
    """A task's page is two clicks away at most, and has its heading."""
    first = linked(ROOT / "README.md")
    reached = first.union(*map(linked, first))
    page = ROOT / TASKS[task]
    assert page in reached
    heading = HEADINGS.get(task, "")
    assert re.search(rf"^#+ .*{heading}", page.read_text(), re.MULTILINE)


def test_every_way_to_install() -> None:
    """The README has one command each for chart, pipx, uv, krew and image, of the same version."""
    text = (ROOT / "README.md").read_text()
    for start in (
        "helm install azwi oci://",
        "pipx install ",
        "uv tool install ",
        "kubectl krew install ",
        "docker run ",
    ):
        assert f"| `{start}" in text
