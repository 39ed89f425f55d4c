"""Scalars as kubectl reads them; tests/cluster/test_kubectl_yaml.py compares all of the table with the real one."""

import pytest

from azure_workload_identity.kube_yaml import reader
from tests.azure_workload_identity.kube_yaml.scalars import REFUSED, SCALARS


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("22:30", "22:30"),
        ("1000:50", "1000:50"),
        ("on", True),
        ("y", True),
        ("oFf", "oFf"),
        ("014", 12),
        ("0o14", 12),
        ("08", 8),
        ("0b101", 5),
        ("1_000", 1000),
        ("5.0", 5),
        ("1e3", 1000),
        ("1e400", "1e400"),
        ("2026-01-02", "2026-01-02"),
        ("18446744073709551615", 2.0**64),
        ("!!str 3", "3"),
        ("!custom 3", "3"),
        ("!!binary aGVsbG8=", "hello"),
        ("{1.10: a, yes: b, 014: c}", {"1.1": "a", "true": "b", "12": "c"}),
    ],
)
def test_value(scalar: str, value: object) -> None:
    """A scalar has the value and the type that kubectl gives it."""
    read = reader.read_one(scalar)
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("scalar", REFUSED)
def test_refused(scalar: str) -> None:
    """What JSON cannot hold, and what is not of its tag's type, is refused with the line."""
    with pytest.raises(reader.YamlError, match=r"line [23]"):
        reader.read_one(f"# a comment\na: {scalar}\n")


def test_enough() -> None:
    """The table holds at least 60 different scalars."""
    assert len(set(SCALARS)) == len(SCALARS) >= 60
