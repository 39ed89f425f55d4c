"""Whether a series grows."""

import random

import pytest

from bench.trend import Point, trend


def test_exact_line() -> None:
    """A line has its slope, and an interval without width."""
    found = trend([(second, 7 + 0.25 * second) for second in range(100)])
    assert (found.slope, found.low, found.high) == pytest.approx((0.25, 0.25, 0.25))


def test_steps_are_growth() -> None:
    """What grows in steps, as memory does, grows by its mean slope, and 0 is outside the interval."""
    found = trend([(second, float(second // 60 * 6)) for second in range(3600)])
    assert found.low > 0
    assert found.slope == pytest.approx(0.1, rel=0.02)


def _wandering(chance: random.Random) -> list[Point]:
    """Noise in which each value keeps most of the one before, as consecutive samples of a process do."""
    value, points = 0.0, []
    for second in range(300):
        value = 0.8 * value + chance.gauss(0, 1)
        points.append((float(second), value))
    return points


def test_coverage() -> None:
    """Of series that do not grow, about 95 % have 0 in their interval, although their samples depend on each other."""
    chance = random.Random(7)  # noqa: S311  noise
    found = [trend(_wandering(chance)) for _ in range(100)]
    assert 0.91 < sum(slope.low <= 0 <= slope.high for slope in found) / len(found) < 0.99


@pytest.mark.parametrize("points", [[], [(0.0, 1.0)], [(0.0, 1.0), (9.0, 2.0)]])
def test_too_few(points: list[Point]) -> None:
    """Fewer than three blocks have no interval."""
    with pytest.raises(ValueError, match="blocks have points"):
        trend(points)
