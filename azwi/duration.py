"""Durations as Go writes them, which v1.6.0's flags take: 1h30m, 3600s, 1.5h."""

import re
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

import click

from webhook import names

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
    """The seconds of a duration.

    Raises:
        ValueError: when it is none.
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is no duration such as 1h30m or 3600s")
    return sum((Decimal(number) * _UNITS[unit] for number, unit in parts), Decimal(0))


class Duration(click.ParamType[float]):
    """A click type: a duration, as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        try:
            return float(seconds(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class TokenExpiration(click.ParamType[int]):
    """A click type: how long a ServiceAccount's token lives, as whole seconds within what the webhook takes."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read and round it, half a second upwards; what is out of bounds before it is rounded is refused."""
        if isinstance(value, int):
            return value
        try:
            given = seconds(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if not names.MIN_TOKEN_EXPIRATION <= given <= names.MAX_TOKEN_EXPIRATION:
            self.fail(f"{value} is not from 1h to 24h", param, ctx)
        return int(given.quantize(Decimal(1), ROUND_HALF_UP))
