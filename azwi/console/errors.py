"""What ends a command before its time: each error owns its exit status and tells a person what to do next."""

import re
from enum import IntEnum
from typing import IO, Any, Final

import click

from azwi.console.printable import printable

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
        """Tell the person at the terminal; names in a message come from others, and do not steer it."""
        lines = [*self.message.splitlines(), *self.hint.splitlines()]
        text = "\n      ".join(map(printable, lines))
        click.echo(f"azwi: {text}", file=file, err=file is None)


class UsageError(CommandError):
    """What the command line says cannot be meant."""

    exit_code = Status.USAGE


class Interrupted(CommandError):  # noqa: N818  somebody's wish, not an error
    """Ctrl-C."""

    exit_code = Status.INTERRUPTED

    def __init__(self) -> None:
        super().__init__("interrupted")


def cause(error: Exception) -> str:
    """What is wrong with a connection, out of the layers that libraries tell it in."""
    text = one_line(getattr(error, "reason", None) or error)
    found = re.search(r"(\[Errno -?\d+\] .*|certificate verify failed.*|timed out.*)", text)
    return found[1].rstrip(")'\">") if found else text


def one_line(error: object) -> str:
    """An error's text on one line, bounded."""
    return " ".join(str(error).split())[:MAX_CAUSE]
