"""Builds the manual as a static site: `make site`. docs/ is the source; docs/README.md is the navigation.

A copy of docs/ is staged in which links that leave it lead to the repository. The generator builds it strictly; then
every link and anchor of the result is checked. Each version has a folder of its own.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = ROOT / "docs"
LINK: Final = re.compile(r"\]\((?![a-z]+:|#)([^)#\s]+)((?:#[^)]*)?)\)")
NAMED: Final = re.compile(r"\[([\w-]+\.md)\]\(((?![a-z]+:)[^)#\s]+)")
# The theme's colour of the open page's entry has too little contrast for WCAG 2.1 AA.
# A diagram scrolls on a phone, so that its text can be read. On a wide window, the columns of a table are as narrow as
# their words, so that a table of figures fits. Markdown has no table without a head, so an empty one is hidden.
STYLE: Final = """\
.md-nav__link--active { color: var(--md-default-fg-color) !important; font-weight: 700; }
.md-typeset thead:not(:has(th:not(:empty))) { display: none; }
@media (min-width: 60em) {
  .md-typeset table:not([class]) th { min-width: 0; }
}
@media (max-width: 40em) {
  .md-typeset p:has(> a > img) { overflow-x: auto; }
  .md-typeset p > a > img { max-width: none; min-width: 36em; }
}
"""
# What the theme's own script adds to a page, with the names and the focus that WCAG 2.1 asks for.
SCRIPT: Final = """\
function complete() {
  document.querySelectorAll("nav.md-code__nav").forEach((nav, index) => (nav.ariaLabel = `Code ${index + 1}`));
  document.querySelectorAll(".md-typeset__scrollwrap").forEach((table) => (table.tabIndex = 0));
  const version = document.querySelector(".md-version__current");
  if (version) version.ariaLabel = `Version ${version.textContent}`;
}
new MutationObserver(complete).observe(document.body, { childList: true, subtree: true });
complete();
"""
REDIRECT: Final = '<!doctype html>\n<meta http-equiv="refresh" content="0; url={0}/">\n<a href="{0}/">{0}</a>\n'


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the navigation: its title and the pages in it, relative to docs/."""

    title: str
    pages: tuple[str, ...]


def sections(index: str) -> list[Section]:
    """Return the navigation: the sections of the manual's index, and the pages that their tables link to."""
    parts = re.split(r"^## (.+)\n", index.split("\n## Where pages moved\n", maxsplit=1)[0], flags=re.MULTILINE)
    found = []
    for title, text in zip(parts[1::2], parts[2::2], strict=True):
        links = re.findall(r"^\|.*\]\(([\w./-]+\.md)\) \|$", text, re.MULTILINE)
        found.append(Section(title, tuple(link for link in links if not link.startswith(".."))))
    return found


def staged(text: str, page: Path, blob: str) -> str:
    """Return a page's text as the site has it.

    The links that leave docs/ lead to the repository at `blob`. A link that shows the name of a page's file shows its
    title.
    """

    def absolute(link: re.Match[str]) -> str:
        target = (page.parent / link[1]).resolve()
        if target.is_relative_to(DOCS) and target.is_file():
            return link[0]
        return f"]({blob}/{target.relative_to(ROOT)}{link[2]})"

    def titled(link: re.Match[str]) -> str:
        target = (page.parent / link[2]).resolve()
        known = target.name == link[1] and target.is_relative_to(DOCS)
        return f"[{target.read_text().partition(chr(10))[0].removeprefix('# ')}]({link[2]}" if known else link[0]

    return LINK.sub(absolute, NAMED.sub(titled, text))


def configuration(homepage: str, navigation: list[Section]) -> str:
    """Return the generator's settings, as TOML."""
    pages = [{section.title: list(section.pages)} for section in navigation]
    nav = ", ".join(
        f"{{ {json.dumps(title)} = {json.dumps(names)} }}" for section in pages for title, names in section.items()
    )
    return f"""\
[project]
site_name = "Azure Workload Identity webhook"
site_description = "Pods on Kubernetes get Microsoft Entra tokens without a stored secret"
repo_url = {json.dumps(homepage)}
docs_dir = "docs"
site_dir = "site"
use_directory_urls = false
extra_css = ["site.css"]
extra_javascript = ["site.js"]
nav = ["README.md", {nav}]

[project.theme]
font = false
features = ["navigation.sections", "navigation.top", "search.highlight", "content.code.copy"]
palette = [
    {{ media = "(prefers-color-scheme: light)", scheme = "default", toggle = {{ icon = "lucide/sun", name = "Dim" }} }},
    {{ media = "(prefers-color-scheme: dark)", scheme = "slate", toggle = {{ icon = "lucide/moon", name = "Light" }} }},
]

[project.extra]
generator = false
version = {{ provider = "mike" }}

[project.markdown_extensions.toc]
permalink = true
toc_depth = 3

[project.markdown_extensions.tables]
[project.markdown_extensions.attr_list]
[project.markdown_extensions.pymdownx.superfences]
[project.markdown_extensions.pymdownx.highlight]
anchor_linenums = false
"""


class _Page(HTMLParser):
    """The ids of a page, what it links to, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect ids, links and sources."""
        given = dict(attrs)
        self.ids.update(value for value in (given.get("id"), given.get("name")) if value)
        address = given.get("href") or given.get("src")
        if address:
            loads = tag in {"script", "img"} or (
                tag == "link" and given.get("rel") in {"stylesheet", "preconnect", "icon"}
            )
            (self.loaded if loads else self.links).add(address)


def problems(site: Path) -> list[str]:
    """Return the links and anchors of a built site that lead nowhere, and what its pages load from elsewhere."""
    pages = {file: _Page(file.read_text()) for file in sorted(site.rglob("*.html")) if file.name != "404.html"}
    found = []
    for file, page in pages.items():
        here = file.relative_to(site)
        found += [f"{here} loads {address}" for address in sorted(page.loaded) if urlsplit(address).netloc]
        for address in sorted(page.links | page.loaded):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                found.append(f"{here} links to {address}, which does not exist")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                found.append(f"{here} links to {address}, and there is no such anchor")
    return found


def build(generator: str, scratch: Path, site: Path) -> None:
    """Build the site of this version into a folder of `site`, and make it the one that its root leads to."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version, homepage = project["version"], project["urls"]["Homepage"]
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(DOCS, scratch / "docs")
    for page in DOCS.rglob("*.md"):
        text = staged(page.read_text(), page, f"{homepage}/blob/v{version}")
        (scratch / "docs" / page.relative_to(DOCS)).write_text(text)
    (scratch / "docs" / "site.css").write_text(STYLE)
    (scratch / "docs" / "site.js").write_text(SCRIPT)
    (scratch / "zensical.toml").write_text(configuration(homepage, sections((DOCS / "README.md").read_text())))
    environment = {**os.environ, "NO_COLOR": "1"}
    subprocess.run([generator, "build", "--clean", "--strict"], cwd=scratch, env=environment, check=True)  # noqa: S603  the locked generator
    for file in (scratch / "site").rglob("*.html"):  # a header without text is an empty cell
        file.write_text(re.sub(r"<th([^>]*)></th>", r"<td\1></td>", file.read_text()))
    if found := problems(scratch / "site"):
        sys.exit("\n".join(found))
    shutil.rmtree(site / version, ignore_errors=True)
    shutil.copytree(scratch / "site", site / version)
    versions = sorted((folder.name for folder in site.iterdir() if folder.is_dir()), reverse=True)
    listed = [{"version": name, "title": name, "aliases": []} for name in versions]
    (site / "versions.json").write_text(json.dumps(listed, indent=2) + "\n")
    (site / "index.html").write_text(REDIRECT.format(version))


if __name__ == "__main__":
    build(sys.argv[1], ROOT / "build" / "site", Path(sys.argv[2]).resolve())
