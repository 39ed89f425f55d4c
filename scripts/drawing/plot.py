"""Plots of measured values: panels of a dashboard over time, and groups of bars."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scripts.drawing import svg

LEGEND_ROW: Final = 15
LEGEND_ROWS: Final = 4
PREFIXES: Final = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ"))
DAY: Final = 86400


@dataclass(frozen=True, slots=True)
class Series:
    """Values at equal steps of time; None where there was none."""

    legend: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle of the drawing, in pixels."""

    left: float
    top: float
    width: float
    height: float


def shown(value: float, unit: str) -> str:
    """Return a value with its unit, as Grafana shows it: `s`, `bytes`, `percentunit`, `ops` or `short`."""
    if unit == "bytes":
        return f"{value / 2**20:.3g} MiB"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    if unit == "s" and value >= DAY:
        return f"{value / DAY:.3g} days"
    scale, prefix = next((item for item in PREFIXES if abs(value) >= item[0]), (1, ""))
    return f"{value / scale:.3g} {prefix}{'' if unit == 'short' else unit.replace('ops', '/s')}".strip()


def stat(frame: Frame, title: str, unit: str, series: Sequence[Series]) -> str:
    """Return a panel that shows the last value."""
    values = [value for one in series for value in one.values if value is not None]
    middle = frame.left + frame.width / 2
    text = shown(values[-1], unit) if values else "no data"
    big = f'<text class="a" style="font-size:24px;stroke:none" x="{middle:g}" y="{frame.top + frame.height - 30:g}" '
    return _frame(frame, title) + f'{big}text-anchor="middle">{text}</text>\n'


def timeseries(frame: Frame, title: str, unit: str, series: Sequence[Series]) -> str:
    """Return a panel with a line for each series, from zero to the largest value."""
    present = [one for one in series if any(value for value in one.values)]
    named = present[:LEGEND_ROWS]
    top = max((value for one in series for value in one.values if value is not None), default=0) or 1
    left, right = frame.left + 68, frame.left + frame.width - 12
    upper, lower = frame.top + 34, frame.top + frame.height - 18 - LEGEND_ROW * max(len(named), 1)
    parts = [_frame(frame, title)]
    for share in (0, 0.5, 1) if present else (0,):
        y = lower - share * (lower - upper)
        parts.append(svg.line([(left, y), (right, y)], "rule") if share == 0 else "")
        parts.append(svg.text(left - 6, y + 4, shown(top * share, unit) if share else "0", "small quiet", "end"))
    for number, one in reversed(list(enumerate(present))):
        parts += [svg.line(piece, f"line {_colour(number)}") for piece in _pieces(one, left, right, lower, upper, top)]
    for number, one in enumerate(named):
        y = lower + 18 + LEGEND_ROW * number
        parts.append(svg.line([(frame.left + 12, y - 4), (frame.left + 28, y - 4)], f"line {_colour(number)}"))
        more = (
            f" and {len(present) - LEGEND_ROWS} more"
            if number == LEGEND_ROWS - 1 and len(present) > LEGEND_ROWS
            else ""
        )
        parts.append(svg.text(frame.left + 34, y, one.legend + more, "small", "start"))
    if not named:
        parts.append(svg.text(frame.left + 12, lower + 18, "always 0", "small quiet", "start"))
    return "".join(parts)


def bars(title: str, unit: str, legends: Sequence[str], groups: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Return a whole drawing: a group of horizontal bars for each name, one bar for each legend."""
    bar, left, width = 18, 170, 640
    height = 44 + len(groups) * (bar * len(legends) + 14) + LEGEND_ROW + 14
    largest = max(value for _, values in groups for value in values)
    parts, y = [svg.text(12, 24, title, "title", "start")], 44.0
    for name, values in groups:
        parts.append(svg.text(left - 8, y + bar * len(values) / 2 + 4, name, "", "end"))
        for number, value in enumerate(values):
            size = max(value / largest * (width - left - 90), 1)
            parts.append(
                f'<rect class="{_colour(number)}f" x="{left}" y="{y:g}" width="{size:.4g}" height="{bar - 3}"/>\n'
            )
            parts.append(svg.text(left + size + 6, y + bar - 6, f"{value:,g} {unit}", "small", "start"))
            y += bar
        y += 14
    for number, legend in enumerate(legends):
        x = left + number * 180
        parts.append(f'<rect class="{_colour(number)}f" x="{x}" y="{y:g}" width="10" height="10"/>\n')
        parts.append(svg.text(x + 16, y + 10, legend, "small", "start"))
    return svg.document(width, height, title, *parts)


def _frame(frame: Frame, title: str) -> str:
    return svg.box(frame.left, frame.top, frame.width, frame.height) + svg.text(
        frame.left + 12, frame.top + 21, title, "title", "start"
    )


def _colour(number: int) -> str:
    return svg.SERIES[number % len(svg.SERIES)]


def _pieces(
    one: Series, left: float, right: float, lower: float, upper: float, top: float
) -> list[list[tuple[float, float]]]:
    """Return the parts of a line between the places where there is no value."""
    step = (right - left) / max(len(one.values) - 1, 1)
    pieces: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(one.values):
        if value is None or math.isnan(value):
            pieces.append([])
        else:
            pieces[-1].append((left + number * step, lower - value / top * (lower - upper)))
    return [piece for piece in pieces if len(piece) > 1]
