"""Boxes in a grid and arrows between them, from lines of text.

A box is `name | column | row | title | text`, an arrow `from > to | text`.
"""

from dataclasses import dataclass
from typing import Final

from scripts.drawing import svg

WIDTH: Final = 220
HEIGHT: Final = 56
GAP_X: Final = 120
GAP_Y: Final = 56
MARGIN: Final = 12


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
            svg.box(self.left, self.top, WIDTH, HEIGHT)
            + svg.text(middle, self.top + 23, self.title, "title")
            + svg.text(middle, self.top + 43, self.text, "small quiet")
        )


def draw(rows: list[list[str]], title: str) -> str:
    """Return the SVG of a source's rows, each split at `|`."""
    boxes = {row[0]: Box(int(row[1]), int(row[2]), row[3], row[4]) for row in rows if len(row) == 5}  # noqa: PLR2004  a box's fields
    arrows = [(*row[0].split(" > "), row[1]) for row in rows if len(row) == 2]  # noqa: PLR2004  an arrow's fields
    width = max(box.left for box in boxes.values()) + WIDTH + MARGIN
    height = max(box.top for box in boxes.values()) + HEIGHT + MARGIN
    parts = [box.svg() for box in boxes.values()]
    parts += [_arrow(boxes[start], boxes[end], label) for start, end, label in arrows]
    return svg.document(width, height, title, *parts)


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
    return svg.arrow((x1, y1), (x2, y2)) + svg.text((x1 + x2) // 2, (y1 + y2) // 2 - 4, label, "label")
