"""Durations as Go writes them."""

from datetime import timedelta
from decimal import Decimal

import pytest

from azure_workload_identity.durations import seconds, written


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("90s", "90"),
        ("1h30m", "5400"),
        ("250ms", "0.25"),
        ("1.5h", "5400"),
        ("8760h", "31536000"),
        (".5m", "30"),
        ("0s", "0"),
    ],
)
def test_seconds(text: str, found: str) -> None:
    """A duration is a row of numbers with units, to the last digit."""
    assert seconds(text) == Decimal(found)


@pytest.mark.parametrize(
    "text", ["", "90", "s", "1d", "-1s", "1h ", "1h 30m", "1h,30m", "1_0s", "1e3s", "9999999999h", "\u0663s"]
)
def test_no_duration(text: str) -> None:
    """Anything else is refused."""
    with pytest.raises(ValueError, match="must be a duration"):
        seconds(text)


@pytest.mark.parametrize("text", ["8760h", "15m", "90s", "0s"])
def test_written(text: str) -> None:
    """What is written is read back as it was."""
    assert written(timedelta(seconds=float(seconds(text)))) == text
