"""The manual as a site."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from scripts import write_site
from testbed.program import ROOT

DOCS: Final = ROOT / "docs"


def test_navigation() -> None:
    """Every page of the manual is in the navigation once."""
    sections = write_site.sections((DOCS / "README.md").read_text())
    pages = [page for section in sections for page in section.pages]
    files = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")} - {"README.md"}
    assert len(pages) == len(set(pages))
    assert set(pages) == files


def test_links_that_leave_the_manual() -> None:
    """A link to another file of the repository becomes absolute; one to a page or to elsewhere stays."""
    text = "[a](chart.md#x) [b](../../SECURITY.md#y) [c](https://example.com) [d](#z) [e](../reference/schemas)"
    expected = "[a](chart.md#x) [b](B/SECURITY.md#y) [c](https://example.com) [d](#z) [e](B/docs/reference/schemas)"
    assert write_site.staged(text, DOCS / "install" / "gitops.md", "B") == expected


def test_titles_for_names() -> None:
    """A link that shows a page's file shows its title; in the section of another page, too."""
    text = "[upgrade.md](upgrade.md) [faq.md](../operate/faq.md#x) [this](upgrade.md) [README.md](../../README.md)"
    expected = (
        "[Upgrade](upgrade.md) [Questions, by the sentence you see](../operate/faq.md#x) [this](upgrade.md) "
        "[README.md](B/README.md)"
    )
    assert write_site.staged(text, DOCS / "install" / "chart.md", "B") == expected


def test_problems(tmp_path: Path) -> None:
    """A missing page, a missing anchor and a file from elsewhere are problems; links that lead somewhere are not."""
    (tmp_path / "a.html").write_text(
        '<p id="here"><a href="#here"></a><a href="b/"></a><a href="https://example.com/x"></a>'
        '<a href="gone.html"></a><a href="b/index.html#gone"></a><script src="https://cdn.example.com/x.js"></script>'
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").write_text('<a href="../a.html#here"></a>')
    assert write_site.problems(tmp_path) == [
        "a.html loads https://cdn.example.com/x.js",
        "a.html links to b/index.html#gone, and there is no such anchor",
        "a.html links to gone.html, which does not exist",
    ]


@pytest.mark.dist
def test_site(tmp_path: Path) -> None:
    """The site is built strictly, with a folder for its version and a page that leads there."""
    command = ["sh", "scripts/site.sh", str(tmp_path)]
    variables = {**os.environ, "PYTHON": sys.executable}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stdout + done.stderr
    (version,) = (folder for folder in tmp_path.iterdir() if folder.is_dir())
    assert (version / "install" / "chart.html").exists()
    assert "AADSTS70021" in (version / "search.json").read_text()
    assert f"url={version.name}/" in (tmp_path / "index.html").read_text()
