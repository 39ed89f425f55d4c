"""Draws a soak as SVG: `python -m tests.e2e.soak.plot soak.json soak.svg`."""

import json
import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Final

from azure_workload_identity.types import JsonObject

WIDTH: Final = 900
HEIGHT: Final = 260
LEFT: Final = 60
RIGHT: Final = 150
GAP: Final = 46
COLORS: Final = {
    ("steady", "server"): "#0969da",
    ("steady", "supervisor"): "#54aeff",
    ("disturbed", "server"): "#bc4c00",
    ("disturbed", "supervisor"): "#fb8f44",
    ("proxy", "proxy"): "#1a7f37",
}
PANELS: Final = (("RSS, MiB", 1, 1024), ("open file descriptors", 4, 1))
MOST_POINTS: Final = 240


def draw(document: JsonObject) -> str:
    """Draw memory and descriptors of every process over time, and the moments of rollouts and kills."""
    height = 30 + len(PANELS) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"',
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, (title, column, scale) in enumerate(PANELS):
        top = 30 + number * (HEIGHT + GAP)
        parts += _panel(document, title, column, scale, top)
    parts += _legend()
    return "\n".join([*parts, "</svg>", ""])


def _panel(document: JsonObject, title: str, column: int, scale: float, top: int) -> Iterator[str]:
    seconds = float(document["seconds"])
    values = [row[column] / scale for process in document["processes"] for row in process["samples"]]
    most = max(values, default=1.0) * 1.1

    def x(at: float) -> float:
        return LEFT + min(at / seconds, 1.0) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return top + HEIGHT - value / most * HEIGHT

    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{escape(title)}</text>'
    for step in range(5):
        value = most * step / 4
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#d0d7de"/>'
        yield f'<text x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.0f}</text>'
    for minute in range(0, int(seconds / 60) + 1, max(1, round(seconds / 60 / 6))):
        yield f'<text x="{x(minute * 60):.1f}" y="{top + HEIGHT + 16}" text-anchor="middle">{minute} min</text>'
    for event in document["events"]:
        color = "#8250df" if event["name"] == "roll_out" else "#cf222e"
        at = x(event["begun"])
        ends = f'x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{top + HEIGHT}"'
        yield f'<line {ends} stroke="{color}" stroke-dasharray="2 4"/>'
    for process in document["processes"]:
        points = " ".join(f"{x(row[0]):.1f},{y(row[column] / scale):.1f}" for row in _thinned(process["samples"]))
        color = COLORS[process["release"], process["role"]]
        yield f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.3"/>'


def _thinned(rows: Sequence[list[float]]) -> Sequence[list[float]]:
    return rows[:: max(1, len(rows) // MOST_POINTS)]


def _legend() -> Iterator[str]:
    entries = [(f"{role}, {release}" if release != role else role, color) for (release, role), color in COLORS.items()]
    for number, (text, color) in enumerate([*entries, ("rollout", "#8250df"), ("kill", "#cf222e")]):
        y = 40 + number * 18
        yield f'<rect x="{WIDTH - RIGHT + 14}" y="{y}" width="12" height="4" fill="{color}"/>'
        yield f'<text x="{WIDTH - RIGHT + 32}" y="{y + 6}">{escape(text)}</text>'


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(json.loads(Path(sys.argv[1]).read_text())))
