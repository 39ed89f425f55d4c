"""Measures the image's layers and its largest parts: the tables of docs/install/image.md.

    python -m scripts.image_report ARCHIVE            # prints the tables
    python -m scripts.image_report ARCHIVE --write    # and writes them into the page

Files are counted by the Dockerfile's stage that they come from, whatever layers the builder makes.
"""

import gzip
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.image_archive import Image

PAGE: Final = Path(__file__).resolve().parents[1] / "docs" / "install" / "image.md"
# The packages that the wheel installs.
PACKAGES: Final[list[str]] = tomllib.loads((PAGE.parents[2] / "pyproject.toml").read_text())["tool"]["hatch"]["build"][
    "targets"
]["wheel"]["packages"]
TABLES: Final = re.compile(r"(?<=<!-- made by scripts.image_report -->\n).*?(?=<!-- end -->)", re.DOTALL)
MEGABYTE: Final = 1_000_000
LARGEST: Final = 12
# A path belongs to the last layer whose pattern matches its beginning.
LAYERS: Final = {
    "system": re.compile(r""),
    "libraries": re.compile(r"opt/azwi"),
    "program": re.compile(
        rf"(?:opt/azwi/lib/python[^/]+/site-packages/(?:{'|'.join(PACKAGES)})\b|opt/azwi/bin/azwi|proxy$|manager$)"
    ),
}
DESCRIPTIONS: Final = {
    "system": "Debian: Python, iptables, their libraries, certificate authorities",
    "libraries": "the locked packages",
    "program": "this project",
}
PARTS: Final = re.compile(
    r"opt/azwi/lib/python[^/]+/site-packages/(?P<package>[A-Za-z_0-9]+)"
    r"|(?P<stdlib>usr/lib/python3[^/]*)|(?P<library>usr/lib/[^/]+-linux-gnu/[^/.]+)"
)


@dataclass(frozen=True, slots=True)
class Size:
    """The size of some files: count, bytes, bytes after gzip."""

    files: int
    size: int
    packed: int

    @classmethod
    def measure(cls, contents: list[bytes]) -> "Size":
        """Measure files together, since a layer is compressed as a whole."""
        joined = b"".join(contents)
        return cls(len(contents), len(joined), len(gzip.compress(joined, 6)))


def layer_of(path: str) -> str:
    """Return the layer of a path."""
    return [name for name, pattern in LAYERS.items() if pattern.match(path)][-1]


def part_of(path: str) -> str:
    """Return the package or library that a path belongs to."""
    found = PARTS.match(path)
    if found is None:
        return "the rest"
    if found["stdlib"]:
        return "Python's standard library"
    return found["package"] or Path(found["library"]).name


def grouped(contents: dict[str, bytes], group: Callable[[str], str]) -> dict[str, Size]:
    """Return the size of each group of files."""
    groups: dict[str, list[bytes]] = defaultdict(list)
    for path, content in sorted(contents.items()):
        groups[group(path)].append(content)
    return {name: Size.measure(files) for name, files in groups.items()}


def table(head: str, rows: Iterable[tuple[str, Size]]) -> str:
    """Return a Markdown table."""
    lines = [f"| {head} | files | MB | MB compressed |", "|---|---|---|---|"]
    lines += [f"| {name} | {s.files:,} | {s.size / MEGABYTE:.1f} | {s.packed / MEGABYTE:.1f} |" for name, s in rows]
    return "\n".join(lines) + "\n"


def report(image: Image) -> str:
    """Return both tables."""
    contents = image.contents(re.compile(".*"))
    layers = grouped(contents, layer_of)
    total = Size(*(sum(getattr(size, name) for size in layers.values()) for name in Size.__slots__))
    by_layer = [(f"`{name}`: {DESCRIPTIONS[name]}", layers[name]) for name in LAYERS]
    parts = sorted(grouped(contents, part_of).items(), key=lambda part: -part[1].size)[:LARGEST]
    return f"{table('layer', [*by_layer, ('all', total)])}\n{table('the largest parts', parts)}"


if __name__ == "__main__":
    text = report(Image.read(Path(sys.argv[1])))
    print(text)  # noqa: T201  its purpose
    if "--write" in sys.argv:
        PAGE.write_text(TABLES.sub(lambda _: text, PAGE.read_text()))
