"""Whether a series grows: the slope of a least-squares line and its confidence interval.

Samples a few seconds apart are not independent, and an interval from all of them would be far too narrow. So they are
averaged over blocks of time first, and the line goes through the averages (batch means).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, linear_regression
from typing import Final

BLOCKS: Final = 10
# The 97.5 % quantile of Student's t by degrees of freedom, from 1.
QUANTILES: Final = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
)

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Trend:
    """A slope, in units of the value a unit of time, and the ends of its 95 % confidence interval."""

    slope: float
    low: float
    high: float


def trend(points: Sequence[Point], blocks: int = BLOCKS) -> Trend:
    """Fit a line through the averages of blocks of equal time; points are (time, value) with ascending times.

    Raises:
        ValueError: There are fewer than three blocks with points, or more than there are quantiles for.
    """
    averages = _averages(points, blocks)
    degrees = len(averages) - 2
    if not 1 <= degrees <= len(QUANTILES):
        raise ValueError(f"{len(averages)} blocks have points; a slope needs 3 to {len(QUANTILES) + 2}")
    times, values = zip(*averages, strict=True)
    slope, intercept = linear_regression(times, values)
    residual = math.fsum((value - intercept - slope * time) ** 2 for time, value in averages)
    mean = fmean(times)
    spread = math.fsum((time - mean) ** 2 for time in times)
    half = QUANTILES[degrees - 1] * math.sqrt(residual / degrees / spread)
    return Trend(slope, slope - half, slope + half)


def _averages(points: Sequence[Point], blocks: int) -> list[Point]:
    if not points:
        return []
    begin, end = points[0][0], points[-1][0]
    width = (end - begin) / blocks or 1.0
    groups: list[list[Point]] = [[] for _ in range(blocks)]
    for point in points:
        groups[min(int((point[0] - begin) / width), blocks - 1)].append(point)
    return [(fmean(time for time, _ in group), fmean(value for _, value in group)) for group in groups if group]
