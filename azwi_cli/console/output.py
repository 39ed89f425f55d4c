"""What commands print: results on stdout as a table, JSON or YAML; progress on stderr when a terminal is there."""

# ruff: noqa: PLC0415  only commands that wait load the progress display

import json
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from azure_workload_identity.kube_yaml import writer
from azwi_cli.console import terminal
from azwi_cli.console.errors import CommandError
from azwi_cli.console.printable import printable, wrapped

if TYPE_CHECKING:
    from rich.status import Status

# Shorter work shows no progress.
PROGRESS_AFTER_SECONDS: Final = 1.0
COLUMN_GAP: Final = "   "
# Narrower, the last column is no longer readable.
MIN_LAST_COLUMN: Final = 20


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class OutputFormat(StrEnum):
    """The format of a result: for people, or one of two for machines."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def format_option(
    default: OutputFormat = OutputFormat.TABLE, *, short: bool = True
) -> Callable[[Decorated], Decorated]:
    """Add --output (and, if `short`, -o) to a command, as parameter `output_format`."""
    return click.option(
        "--output",
        *(["-o"] if short else []),
        "output_format",
        type=click.Choice([*OutputFormat], case_sensitive=False),
        default=default,
        show_default=str(default),
        help="Format of the result.",
    )


option = format_option()


def write(document: object, output_format: OutputFormat, text: Callable[[], str]) -> None:
    """Print a result: `document` as JSON or YAML, or `text()` for people."""
    click.echo(as_text(document, output_format, text), nl=output_format is not OutputFormat.YAML)


def as_text(document: object, output_format: OutputFormat, text: Callable[[], str]) -> str:
    """What `write` prints."""
    if output_format is OutputFormat.JSON:
        return json.dumps(document, indent=2)
    return as_yaml(document) if output_format is OutputFormat.YAML else text()


def as_yaml(document: object) -> str:
    """YAML as people write manifests: maps in their order, text of several lines as a block, nothing shared."""
    return writer.write(document)


def as_documents(documents: Iterable[object]) -> str:
    """Several YAML documents."""
    return writer.write_all(documents)


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Columns as kubectl prints them, without control characters.

    Where they are too wide for the terminal, the last column is wrapped at words; where that is too narrow for it,
    each row is a block of lines.
    """
    heading, *found = table_lines(headings, rows)
    if heading:
        return "\n".join([*heading, *(line for lines in found for line in lines)])
    return "\n\n".join("\n".join(lines) for lines in found)


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[list[str]]:
    """The lines of a table's headings, none where each row is a block of lines; then those of each row."""
    names = [heading.upper() for heading in headings]
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    columns = terminal.width(sys.stdout)
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    left = sum(widths[:-1]) + len(COLUMN_GAP) * (len(widths) - 1)
    if not columns or left + widths[-1] <= columns:
        yield from ([_row(row, widths)] for row in [names, *cells])
    elif columns - left >= MIN_LAST_COLUMN:
        yield from (list(_wrapped_row(row, widths, columns - left)) for row in [names, *cells])
    else:
        yield []
        yield from (list(_block(names, row, columns)) for row in cells)


def _row(row: Sequence[str], widths: Sequence[int]) -> str:
    return COLUMN_GAP.join(map(str.ljust, row, widths)).rstrip()


def _wrapped_row(row: Sequence[str], widths: Sequence[int], room: int) -> Iterator[str]:
    """A row whose last cell continues below itself; a word that is longer than its column stays whole."""
    first, *more = wrapped(row[-1], room)
    yield _row([*row[:-1], first], widths)
    yield from (_row([*[""] * (len(row) - 1), text], widths) for text in more)


def _block(names: Sequence[str], row: Sequence[str], columns: int) -> Iterator[str]:
    for name, cell in zip(names, row, strict=True):
        yield from wrapped(f"{name}: {cell}", columns, "  ")


class Progress:
    """Shows a text on stderr once the work takes longer than PROGRESS_AFTER_SECONDS."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lock = threading.Lock()
        self._shown: Status | None = None
        self._over = False
        self._timer = threading.Timer(PROGRESS_AFTER_SECONDS, self._show)
        self._timer.daemon = True
        if sys.stderr.isatty():
            self._timer.start()

    def update(self, text: str) -> None:
        """Change the text."""
        with self._lock:
            self._text = text
            if self._shown is not None:
                self._shown.update(printable(text))

    def stop(self) -> None:
        """Stop and clear it."""
        self._timer.cancel()
        with self._lock:
            self._over = True
            if self._shown is not None:
                self._shown.stop()

    def _show(self) -> None:
        from rich.console import Console

        with self._lock:
            if not self._over:
                self._shown = Console(stderr=True, markup=False).status(printable(self._text))
                self._shown.start()


@contextmanager
def progress(text: str) -> Iterator[Progress]:
    """Show progress of something that may take long, if there is a terminal.

    Leave the block before anything is printed or asked.
    """
    shown = Progress(text)
    try:
        yield shown
    finally:
        shown.stop()


def write_file(file: Path, text: str) -> None:
    """Write a file, making the directories that lead to it.

    Raises:
        CommandError: when it cannot be written.
    """
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise CommandError(f"{file} cannot be written: {error.strerror}") from error


def warn(text: str) -> None:
    """Print a warning."""
    label = "azwi: warning:"
    shown = "\n".join(wrapped(f"{label} {printable(text)}", terminal.width(sys.stderr), "      "))
    if terminal.coloured(sys.stderr):
        shown = shown.replace(label, click.style(label, fg="yellow"), 1)
    click.echo(shown, err=True)
