"""Writes man pages of azwi from the commands themselves: `python -m scripts.write_man DIRECTORY`."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from azure_workload_identity import __version__
from azwi_cli.main import program

_AS_IS = "\b\n"


def pages() -> dict[str, str]:
    """Name of each page, such as azwi-doctor.1, to its text in man(7)."""
    found: dict[str, str] = {}
    with click.Context(program, info_name="azwi") as context:
        for name, command, below in _commands("azwi", program, context):
            found[f"{name}.1"] = "\n".join(_page(name, command, below)) + "\n"
    return found


def _commands(
    name: str, command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    yield name, command, context
    if isinstance(command, click.Group):
        for child_name in command.list_commands(context):
            child = command.get_command(context, child_name)
            if child is not None and not child.hidden:
                with click.Context(child, parent=context, info_name=child_name) as below:
                    yield from _commands(f"{name}-{child_name}", child, below)


def _page(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    yield f'.TH "{name.upper()}" 1 "" "azwi {__version__}" "Azure Workload Identity"'
    yield ".SH NAME"
    yield f"{_escaped(name)} \\- {_escaped(command.get_short_help_str(200).rstrip('.'))}"
    yield ".SH SYNOPSIS"
    yield f"\\fB{_escaped(context.command_path)}\\fR {_escaped(' '.join(command.collect_usage_pieces(context)))}"
    yield ".SH DESCRIPTION"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        as_is = paragraph.startswith(_AS_IS)
        yield ".nf" if as_is else ".PP"
        yield from (_escaped(line) for line in paragraph.removeprefix(_AS_IS).splitlines())
        if as_is:
            yield ".fi"
    yield from _options(command, context)
    yield from _children(name, command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [option for option in command.params if isinstance(option, click.Option) and not option.hidden]
    if options:
        yield ".SH OPTIONS"
    for option in options:
        record = option.get_help_record(context)
        if record:
            yield from (".TP", f"\\fB{_escaped(record[0])}\\fR", _escaped(" ".join(record[1].split())))


def _children(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    if not isinstance(command, click.Group):
        return
    yield ".SH COMMANDS"
    for child_name in command.list_commands(context):
        child = command.get_command(context, child_name)
        if child is not None and not child.hidden:
            yield from (
                ".TP",
                f"\\fB{_escaped(f'{name}-{child_name}')}\\fR(1)",
                _escaped(child.get_short_help_str(200)),
            )


def _escaped(text: str) -> str:
    """Text in roff: backslashes and hyphens as they are, and no line that begins like a request."""
    safe = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in pages().items():
        (directory / file).write_text(text)
