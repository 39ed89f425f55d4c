"""Errors that end a command: each has its exit status and a hint what to do next."""

import re
import sys
from enum import IntEnum
from typing import IO, Any, Final

import click

from azwi_cli.console import terminal
from azwi_cli.console.printable import printable, wrapped

MAX_CAUSE: Final = 300
MIN_COLUMNS: Final = 20
_NAME: Final = "azwi:"
_INDENT: Final = " " * len(f"{_NAME} ")


class Status(IntEnum):
    """The exit statuses of `azwi`."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    UNKNOWN = 3
    NOT_EXECUTABLE = 126  # the command of azwi run, as in a shell; so is the next
    NOT_FOUND = 127
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
        columns = terminal.width(sys.stderr) if file is None else 0
        room = max(columns - len(_INDENT), MIN_COLUMNS) if columns else 0
        lines = [*self.message.splitlines(), *self.hint.splitlines()]
        text = f"\n{_INDENT}".join(part for line in lines for part in wrapped(printable(line), room))
        coloured = file is None and terminal.coloured(sys.stderr)
        name = click.style(_NAME, fg="red", bold=True) if coloured else _NAME
        click.echo(f"{name} {text}", file=file, err=file is None)


class UnreachableError(CommandError):
    """Nothing could be looked at: no connection, or no login."""


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
    return _unwrapped(found[1]) if found else text


def _unwrapped(text: str) -> str:
    """The text without the brackets and quotes at its end that were opened before it."""
    opened_by = {")": "(", "]": "[", ">": "<", "'": "'", '"': '"'}
    while (opening := opened_by.get(text[-1:])) and _is_open(text, opening, text[-1]):
        text = text[:-1]
    return text


def _is_open(text: str, opening: str, closing: str) -> bool:
    if opening == closing:
        return text.count(closing) % 2 == 1
    return text.count(closing) > text.count(opening)


def one_line(error: object) -> str:
    """An error's text on one line, bounded."""
    return " ".join(str(error).split())[:MAX_CAUSE]
