"""Durations in Go's notation, which v1.6.0's flags use: 1h30m, 3600s, 1.5h.

https://pkg.go.dev/time#ParseDuration
"""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

_UNITS: Final = {
    "ns": Decimal("1e-9"),
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
}
_PART: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})(ns|us|µs|ms|s|m|h)", re.ASCII)


def seconds(text: str) -> Decimal:
    """Parse a duration into seconds.

    Raises:
        ValueError: when `text` is not a duration.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("must be a duration such as 90s, 15m or 1h30m")
    return sum((Decimal(number) * _UNITS[unit] for number, unit in parts), Decimal(0))


def written(time: timedelta) -> str:
    """Format a duration, rounded to seconds, in the largest unit that divides it."""
    whole = round(time.total_seconds())
    for unit, size in (("h", 3600), ("m", 60)):
        if whole and whole % size == 0:
            return f"{whole // size}{unit}"
    return f"{whole}s"
