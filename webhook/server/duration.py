"""Durations as Go's flags and Kubernetes' APIs write them: `90s`, `1h30m`, `250ms`.

https://pkg.go.dev/time#ParseDuration
"""

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(h|ms|m|s)", re.ASCII)


def duration(text: object) -> object:
    """The time that `text` says; what is no text is handed through.

    Raises:
        ValueError: when it is not written so.
    """
    if not isinstance(text, str):
        return text
    parts = _PART.findall(text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise ValueError("must be a duration such as 90s, 15m or 24h")
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


def written(time: timedelta) -> str:
    """The duration as `duration` reads it, in whole seconds."""
    seconds = round(time.total_seconds())
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
