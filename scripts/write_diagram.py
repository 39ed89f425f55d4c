"""Draws the manual's diagrams, each from the text beside it: `python -m scripts.write_diagram [--check]`.

A source is docs/**/NAME.txt. Its first line is `# KIND: TITLE`; KIND is one of KINDS, whose modules describe the rest.
"""

import sys
from pathlib import Path
from typing import Final

from scripts.drawing import grid, sequence

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
KINDS: Final = {"grid": grid.draw, "sequence": sequence.draw}


def drawing(source: str) -> str:
    """Return the SVG for a source text."""
    first, *lines = source.splitlines()
    kind, _, title = first.removeprefix("# ").partition(": ")
    rows = [[field.strip() for field in line.split("|")] for line in lines if line and not line.startswith("#")]
    return KINDS[kind](rows, title)


if __name__ == "__main__":
    for file in sorted(DOCS.rglob("*.txt")):
        made, picture = drawing(file.read_text()), file.with_suffix(".svg")
        if "--check" not in sys.argv:
            picture.write_text(made)
        elif picture.read_text() != made:
            sys.exit(f"{picture} is not what {file.name} says: run make docs")
