"""Draws a soak as SVG: `python -m tests.e2e.soak.plot soak.json soak.svg`."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from azure_workload_identity.types import JsonObject
from scripts.drawing import svg

WIDTH: Final = 900
HEIGHT: Final = 260
LEFT: Final = 60
RIGHT: Final = 190
TOP: Final = 34
GAP: Final = 46
# Classes of the drawing by release and role of a process.
COLOURS: Final = {
    ("steady", "server"): "a",
    ("disturbed", "server"): "b",
    ("steady", "supervisor"): "a",
    ("disturbed", "supervisor"): "b",
    ("proxy", "proxy"): "c",
}
LEGEND: Final = (("steady", "a"), ("rolled out and killed", "b"), ("proxy", "c"), ("rollout", "d"), ("kill", "e"))
PANELS: Final = (("RSS, MiB: servers, proxy, supervisors", 1, 1024), ("open file descriptors", 4, 1))
MOST_POINTS: Final = 240


def draw(document: JsonObject) -> str:
    """Draw memory and descriptors of every process over time, and the moments of rollouts and kills."""
    height = TOP + len(PANELS) * (HEIGHT + GAP)
    parts = [
        part
        for number, (title, column, scale) in enumerate(PANELS)
        for part in _panel(document, title, column, scale, TOP + number * (HEIGHT + GAP))
    ]
    title = f"Memory and descriptors of every process in {document['seconds'] / 60:.0f} minutes"
    return svg.document(WIDTH, height, title, *parts, *_legend())


def _panel(document: JsonObject, title: str, column: int, scale: float, top: int) -> Iterator[str]:
    seconds = float(document["seconds"])
    values = [row[column] / scale for process in document["processes"] for row in process["samples"]]
    most = max(values, default=1.0) * 1.1

    def x(at: float) -> float:
        return LEFT + min(at / seconds, 1.0) * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        return top + HEIGHT - value / most * HEIGHT

    yield svg.text(LEFT, top - 10, title, "title", "start")
    for quarter in range(5):
        value = most * quarter / 4
        yield svg.text(LEFT - 8, y(value) + 4, f"{value:.0f}", "small quiet", "end")
    yield svg.line([(LEFT, top), (LEFT, top + HEIGHT), (WIDTH - RIGHT, top + HEIGHT)], "rule")
    for minute in range(0, int(seconds / 60) + 1, max(1, round(seconds / 60 / 6))):
        yield svg.text(x(minute * 60), top + HEIGHT + 18, f"{minute} min", "small quiet")
    for event in document["events"]:
        at = x(event["begun"])
        yield svg.line([(at, top), (at, top + 10)], "d" if event["name"] == "roll_out" else "e")
    for process in document["processes"]:
        points = [(x(row[0]), y(row[column] / scale)) for row in _thinned(process["samples"])]
        yield svg.line(points, f"line {COLOURS[process['release'], process['role']]}")


def _thinned(rows: Sequence[list[float]]) -> Sequence[list[float]]:
    return rows[:: max(1, len(rows) // MOST_POINTS)]


def _legend() -> Iterator[str]:
    for number, (text, colour) in enumerate(LEGEND):
        left, y = WIDTH - RIGHT + 14, TOP + 10 + number * 18
        yield svg.line([(left, y), (left + 14, y)], f"line {colour}")
        yield svg.text(left + 22, y + 4, text, "small", "start")


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(draw(json.loads(Path(sys.argv[1]).read_text())))
