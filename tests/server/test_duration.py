"""Durations as Go's flags write them."""

from datetime import timedelta

import pytest

from webhook.server.duration import duration, written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("8760h", 31536000), ("0s", 0)],
)
def test_duration(text: str, seconds: float) -> None:
    """A duration is a row of numbers with units."""
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "s", "1d", "-1s", "1h 30m", "1e3s", "9999999999h", "\u0663s"])
def test_no_duration(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="must be a duration"):
        duration(text)


@pytest.mark.parametrize("text", ["8760h", "15m", "90s", "0s"])
def test_written(text: str) -> None:
    """What is written is read back as it was."""
    time = duration(text)
    assert isinstance(time, timedelta)
    assert written(time) == text
