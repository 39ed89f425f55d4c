"""Durations on a command line."""

from decimal import ROUND_HALF_UP, Decimal

import click

from azure_workload_identity import names
from azure_workload_identity.durations import seconds


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
            self.fail(f"{value} {error}", param, ctx)


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
            self.fail(f"{value} {error}", param, ctx)
        if not names.MIN_TOKEN_EXPIRATION <= given <= names.MAX_TOKEN_EXPIRATION:
            self.fail(f"{value} is not from 1h to 24h", param, ctx)
        return int(given.quantize(Decimal(1), ROUND_HALF_UP))
