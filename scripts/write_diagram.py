"""Draws the manual's diagrams, each from the text beside it: `python -m scripts.write_diagram [--check]`."""

import sys
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
SOURCES: Final = (DOCS / "develop" / "end-to-end.txt", DOCS / "install" / "engines.txt")
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 220, 56, 120, 56, 12
STYLE: Final = (
    "text{font:13px sans-serif;fill:#1f2328}.title{font-weight:bold}.small{font-size:12px;fill:#57606a}"
    "rect{fill:#f6f8fa;stroke:#57606a;rx:6}path{fill:none;stroke:#0969da;stroke-width:1.5;marker-end:url(#tip)}"
    ".label{font-size:12px;fill:#0969da;paint-order:stroke;stroke:#fff;stroke-width:4}"
)


@dataclass(frozen=True, slots=True)
class Box:
    """A box in the grid."""

    column: int
    row: int
    title: str
    text: str

    @property
    def left(self) -> int:
        """X coordinate of the left edge."""
        return MARGIN + self.column * (WIDTH + GAP_X)

    @property
    def top(self) -> int:
        """Y coordinate of the upper edge."""
        return MARGIN + self.row * (HEIGHT + GAP_Y)

    def svg(self) -> str:
        """Return the box as SVG."""
        middle = self.left + WIDTH // 2
        return (
            f'<rect x="{self.left}" y="{self.top}" width="{WIDTH}" height="{HEIGHT}"/>'
            f'<text class="title" x="{middle}" y="{self.top + 23}" text-anchor="middle">{escape(self.title)}</text>'
            f'<text class="small" x="{middle}" y="{self.top + 43}" text-anchor="middle">{escape(self.text)}</text>\n'
        )


def drawing(source: str) -> str:
    """Return the SVG for a source text."""
    lines = [line for line in source.splitlines() if line and not line.startswith("#")]
    rows = [[field.strip() for field in line.split("|")] for line in lines]
    boxes = {row[0]: Box(int(row[1]), int(row[2]), row[3], row[4]) for row in rows if len(row) == 5}  # noqa: PLR2004  a box's fields
    arrows = [(*row[0].split(" > "), row[1]) for row in rows if len(row) == 2]  # noqa: PLR2004  an arrow's fields
    width = max(box.left for box in boxes.values()) + WIDTH + MARGIN
    height = max(box.top for box in boxes.values()) + HEIGHT + MARGIN
    tip = '<path d="M0 0 8 4 0 8z" style="fill:#0969da;stroke:none;marker-end:none"/>'
    marker = f'<marker id="tip" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">{tip}</marker>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        f"<style>{STYLE}</style><defs>{marker}</defs>\n"
        f'<rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>\n'
        + "".join(box.svg() for box in boxes.values())
        + "".join(_arrow(boxes[start], boxes[end], label) for start, end, label in arrows)
        + "</svg>\n"
    )


def _arrow(start: Box, end: Box, label: str) -> str:
    """Return an arrow between the middles of the facing sides."""
    if start.column == end.column:
        down = end.row > start.row
        x1 = x2 = start.left + WIDTH // 2
        y1, y2 = (start.top + HEIGHT, end.top) if down else (start.top, end.top + HEIGHT)
    else:
        right = end.column > start.column
        x1, x2 = (start.left + WIDTH, end.left) if right else (start.left, end.left + WIDTH)
        y1, y2 = start.top + HEIGHT // 2, end.top + HEIGHT // 2
    place = f'x="{(x1 + x2) // 2}" y="{(y1 + y2) // 2 - 4}" text-anchor="middle"'
    return f'<path d="M{x1} {y1} {x2} {y2}"/><text class="label" {place}>{escape(label)}</text>\n'


if __name__ == "__main__":
    for file in SOURCES:
        made, picture = drawing(file.read_text()), file.with_suffix(".svg")
        if "--check" not in sys.argv:
            picture.write_text(made)
        elif picture.read_text() != made:
            sys.exit(f"{picture} is not what {file.name} says: run make docs")
