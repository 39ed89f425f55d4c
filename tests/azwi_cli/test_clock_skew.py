"""How far clocks are apart."""

from datetime import UTC, datetime, timedelta

import pytest

from azwi_cli.clock_skew import ClockReading

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def reading(shown: float, took: float) -> ClockReading:
    """Read a clock that is `shown` seconds ahead when it is asked, in an answer that took its time."""
    return ClockReading(NOW + timedelta(seconds=shown), NOW, NOW + timedelta(seconds=took))


@pytest.mark.parametrize(
    ("shown", "took", "ahead"),
    [(0, 0, 0), (10, 0, 10), (-10, 0, -9), (10, 4, 6), (-10, 4, -9), (3, 4, 0), (-0.5, 0, 0)],
)
def test_ahead(shown: float, took: float, ahead: float) -> None:
    """A clock is as far ahead as is certain: the way of its answer and the whole seconds that it shows are forgiven."""
    assert reading(shown, took).ahead().total_seconds() == ahead


def test_two() -> None:
    """Of two clocks both ways count, and this machine's does not."""
    assert reading(600, 2).ahead(reading(600, 2)).total_seconds() == 0
    assert reading(600, 2).ahead(reading(0, 5)).total_seconds() == 597
    assert reading(0, 5).ahead(reading(600, 2)).total_seconds() == -597
