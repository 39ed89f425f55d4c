"""Errors that end a command: each has its exit status and a hint what to do next."""

import re
from enum import IntEnum
from typing import IO, Any, Final

import click

from azwi_cli.console.printable import printable

MAX_CAUSE: Final = 300


class Status(IntEnum):
    """The exit statuses of `azwi`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


class CommandError(click.ClickException):
    """The command was refused or failed.

    Args:
        message: What happened, in one sentence without a full stop; no secret.
        hint: What to do next, in one sentence.
    """

    exit_code = Status.FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        """Print message and hint; control characters in names from a cluster do not reach the terminal."""
        lines = [*self.message.splitlines(), *self.hint.splitlines()]
        text = "\n      ".join(map(printable, lines))
        click.echo(f"azwi: {text}", file=file, err=file is None)


class UsageError(CommandError):
    """The command line is wrong."""

    exit_code = Status.USAGE


class Interrupted(CommandError):  # noqa: N818  a request, not an error
    """Ctrl-C."""

    exit_code = Status.INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted")


def cause(error: Exception) -> str:
    """The root cause of a connection error, without the layers that libraries wrap around it."""
    text = one_line(getattr(error, "reason", None) or error)
    found = re.search(r"(\[Errno -?\d+\] .*|certificate verify failed.*|timed out.*)", text)
    return found[1].rstrip(")'\">") if found else text


def one_line(error: object) -> str:
    """An error's text on one line, bounded."""
    return " ".join(str(error).split())[:MAX_CAUSE]
