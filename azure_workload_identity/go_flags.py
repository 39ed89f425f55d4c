"""Command lines as Go's flag package reads them: one dash or two, `--flag value` or `--flag=value`."""

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

_ONE_DASH = re.compile(r"^-(?=[a-z]{2})")


class FlagParser(argparse.ArgumentParser):
    """An argparse parser for Go's notation; a flag is never abbreviated.

    Raises:
        Exception: of type `failure`, with a sentence, when the command line cannot be used.
    """

    def __init__(self, prog: str, failure: type[Exception], **settings: Any) -> None:  # noqa: ANN401  argparse's own
        super().__init__(prog=prog, allow_abbrev=False, **settings)
        self._failure = failure

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing and exiting."""
        raise self._failure(f"{message}; see {self.prog} --help")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse a command line, without the program's name."""
        return self.parse_args([two_dashes(argument) for argument in arguments])


def two_dashes(argument: str) -> str:
    """A flag with two dashes; any other argument as it is."""
    return _ONE_DASH.sub("--", argument)
