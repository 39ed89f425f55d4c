"""Messages between parties in the order of time, from lines of text.

A party is `name | title | text`, in the order of its column. A message is `from > to | text`, and what a party does by
itself is `name : | text`.
"""

from typing import Final

from scripts.drawing import svg

LANE: Final = 176
BOX: Final = (160, 46)
STEP: Final = 44
MARGIN: Final = 12


def draw(rows: list[list[str]], title: str) -> str:
    """Return the SVG of a source's rows, each split at `|`."""
    parties = {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}  # noqa: PLR2004  a party's fields
    steps = [row for row in rows if len(row) == 2]  # noqa: PLR2004  a message's fields
    middles = {name: MARGIN + BOX[0] / 2 + column * LANE for column, name in enumerate(parties)}
    width = int(MARGIN * 2 + BOX[0] + LANE * (len(parties) - 1))
    below = MARGIN + BOX[1]
    height = int(below + STEP * (len(steps) + 1))
    parts = [svg.line([(x, below), (x, height - MARGIN)], "rule") for x in middles.values()]
    for name, (head, text) in parties.items():
        x = middles[name]
        parts += [
            svg.box(x - BOX[0] / 2, MARGIN, *BOX),
            svg.text(x, MARGIN + 19, head, "title"),
            svg.text(x, MARGIN + 37, text, "small quiet"),
        ]
    for number, (who, text) in enumerate(steps, start=1):
        parts.append(_step(who, f"{number} {text}", below + STEP * number, middles, width))
    return svg.document(width, height, title, *parts)


def _step(who: str, text: str, y: float, middles: dict[str, float], width: int) -> str:
    start, _, end = who.partition(" > ")
    if not end:
        return _label(text, middles[start.removesuffix(" :")], y, width)
    x1, x2 = middles[start], middles[end]
    return svg.arrow((x1, y), (x2, y)) + _label(text, (x1 + x2) / 2, y - 6, width)


def _label(text: str, x: float, y: float, width: int) -> str:
    """Return a label that stays inside the drawing; a character of it takes at most 6.6 pixels."""
    half = len(text) * 6.6 / 2
    return svg.text(min(max(x, half + MARGIN), width - half - MARGIN), y, text, "label")
