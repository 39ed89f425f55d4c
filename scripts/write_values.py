"""Writes the tables of values in the chart's README: `python -m scripts.write_values [--check]`."""

import json
import sys
from typing import Final

from scripts.chart_values import CHART, VALUES, documented_values

README: Final = CHART / "README.md"
BEGIN: Final = "<!-- values.yaml: begin; make docs -->\n"
END: Final = "<!-- values.yaml: end -->\n"


def tables() -> str:
    """Return the tables, one for each section."""
    lines, section = [], ""
    for value in documented_values(VALUES.read_text()):
        if value.section != section:
            section = value.section
            lines += ["", f"### {section}", "", "| Value | Default | Meaning |", "|---|---|---|"]
        lines.append(f"| `{value.name}` | {_cell(value.default)} | {value.description} |")
    return "\n".join(lines[1:]) + "\n"


def _cell(default: object) -> str:
    return "" if default in ("", None) else f"`{json.dumps(default)}`"


def page() -> str:
    """Return the whole README with the tables that values.yaml makes."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if README.read_text() == page() else f"{README} is not what values.yaml says: run make docs")
    README.write_text(page())
