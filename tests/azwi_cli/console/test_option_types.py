"""Durations on a command line."""

import click
import pytest

from azwi_cli.console.option_types import Duration, TokenExpiration


@pytest.mark.parametrize(
    ("text", "expected"), [("1h", 3600), ("24h", 86400), ("3600.5s", 3601), ("3600.4s", 3600), ("7200s", 7200)]
)
def test_token_expiration(text: str, expected: int) -> None:
    """A token's lifetime is in whole seconds, rounded as v1.6.0 rounds it."""
    assert TokenExpiration().convert(text, None, None) == expected


@pytest.mark.parametrize("text", ["59m59s", "24h0m1s", "3599.9s", "hour"])
def test_token_expiration_out_of_bounds(text: str) -> None:
    """Less than an hour and more than a day are wrong usage, before anything is rounded."""
    with pytest.raises(click.BadParameter):
        TokenExpiration().convert(text, None, None)


def test_converted_already() -> None:
    """What is converted already stays."""
    assert TokenExpiration().convert(3601, None, None) == 3601
    assert Duration().convert(0.5, None, None) == 0.5
