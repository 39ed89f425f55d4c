"""Draws what was measured: `python -m scripts.write_plots [--check]`.

The dashboard is drawn from docs/operate/dashboard.json, which `make dashboard` records. The benchmarks are drawn from
the tables of their pages, so that a picture shows what its page says.
"""

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from azure_workload_identity.types import JsonObject
from scripts.drawing import plot, svg

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
COLUMN: Final = 50
ROW: Final = 26


def dashboard(recorded: JsonObject) -> str:
    """Return the dashboard with the recorded values, in its own layout."""
    parts, height = [], 0
    for panel in recorded["panels"]:
        place = panel["gridPos"]
        frame = plot.Frame(place["x"] * COLUMN + 4, place["y"] * ROW + 4, place["w"] * COLUMN - 8, place["h"] * ROW - 8)
        draw = plot.stat if panel["type"] == "stat" else plot.timeseries
        series = [plot.Series(one["legend"], one["values"]) for one in panel["series"]]
        parts.append(draw(frame, panel["title"], panel["unit"], series))
        height = max(height, (place["y"] + place["h"]) * ROW)
    return svg.document(24 * COLUMN, height, "The Grafana dashboard of the webhook, with recorded values", *parts)


def column(page: str, heading: str, names: Sequence[str]) -> list[tuple[str, list[float]]]:
    """Return the named columns of the first table below a heading, with the first cell of each row.

    Raises:
        ValueError: There is no such column, or a cell has no number.
    """
    text = (DOCS / page).read_text().split(f"\n{heading}\n", maxsplit=1)[1]
    table = re.search(r"(^\|.*\n)+", text, re.MULTILINE)
    lines = table[0].splitlines() if table else []
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    chosen = [rows[0].index(name) for name in names]
    return [(row[0], [float(row[index].replace(",", "")) for index in chosen]) for row in rows[2:]]


def pictures() -> dict[Path, str]:
    """Return every picture by its file."""
    benchmarks = "develop/benchmarks.md"
    return {
        DOCS / "operate" / "dashboard.svg": dashboard(json.loads((DOCS / "operate" / "dashboard.json").read_text())),
        DOCS / "develop" / "benchmark-cpu.svg": plot.bars(
            "CPU time of an admission",
            "µs",
            ("v1.6.0", "here"),
            column(benchmarks, "## Next to v1.6.0", ("v1.6.0: CPU µs", "here: CPU µs")),
        ),
        DOCS / "develop" / "benchmark-memory.svg": plot.bars(
            "Memory by the number of ServiceAccounts",
            "MiB",
            ("v1.6.0", "here"),
            column(benchmarks, "## Many accounts", ("v1.6.0 RSS", "RSS MiB")),
        ),
    }


if __name__ == "__main__":
    for file, made in pictures().items():
        if "--check" not in sys.argv:
            file.write_text(made)
        elif file.read_text() != made:
            sys.exit(f"{file} is not what its data say: run make docs")
