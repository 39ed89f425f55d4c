"""Command lines in Go's notation."""

import pytest

from azure_workload_identity.go_flags import FlagParser, two_dashes


class FlagError(ValueError):
    """The command line cannot be used."""


def parser() -> FlagParser:
    """Make a parser with one flag."""
    made = FlagParser("azwi-test", FlagError)
    made.add_argument("--log-level")
    return made


@pytest.mark.parametrize(
    "arguments", [["-log-level=info"], ["--log-level=info"], ["-log-level", "info"], ["--log-level", "info"]]
)
def test_notations(arguments: list[str]) -> None:
    """A flag has one dash or two, and its value after = or as the next argument."""
    assert parser().parse(arguments).log_level == "info"


@pytest.mark.parametrize("arguments", [["--log"], ["-l"], ["info"], ["--log-level"]])
def test_unusable(arguments: list[str]) -> None:
    """Abbreviations and anything else unknown are errors that name the help."""
    with pytest.raises(FlagError, match=r"; see azwi-test --help$"):
        parser().parse(arguments)


def test_other_arguments() -> None:
    """Only flags get a second dash."""
    assert [two_dashes(argument) for argument in ("-a", "-", "a-b", "-1", "--ab")] == ["-a", "-", "a-b", "-1", "--ab"]
