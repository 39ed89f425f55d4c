"""Writes docs/reference/azwi.md from the commands themselves: `python -m scripts.write_azwi [--check]`."""

import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from azwi_cli.main import COMMANDS, program

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "azwi.md"
SCHEMAS: Final = PAGE.parent / "schemas"
HEAD: Final = """# azwi

Every command of `azwi` with its flags. Exit status: 0 done, 1 refused or failed, 2 wrong usage, 130 after Ctrl-C.
Results go to stdout, everything else to stderr; without a terminal there is no colour and no progress. Made from the
code by `make docs`.

"""
# click's mark before a paragraph that is not to be wrapped.
_AS_IS: Final = "\b"


def page() -> str:
    """The whole page."""
    with click.Context(program, info_name="azwi") as context:
        return HEAD + "\n".join(_section(program, context)).rstrip() + "\n"


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    """A command's section, then those of its subcommands."""
    depth = context.command_path.count(" ")
    if depth:
        yield f"{'#' * min(depth + 1, 4)} {context.command_path}\n"
        yield f"```\n{' '.join(command.get_usage(context).removeprefix('Usage: ').split())}\n```\n"
        yield from _help(command)
        yield from _schemas(command, context)
    yield from _options(command, context)
    if isinstance(command, click.Group):
        yield from _commands(command, context)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                with click.Context(child, parent=context, info_name=name) as below:
                    yield from _section(child, below)


def _help(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith(_AS_IS):
            yield f"```\n{paragraph.removeprefix(_AS_IS).strip()}\n```\n"
        else:
            yield f"{paragraph}\n"


def _schemas(command: click.Command, context: click.Context) -> Iterator[str]:
    """Links to the schemas of a command's outputs: they have its name, or its name and a form of output."""
    name = "-".join(context.command_path.split()[1:])
    own = name if isinstance(command, click.Group) else f"{name}*"
    links = [f"[{file.stem}](schemas/{file.name})" for file in sorted(SCHEMAS.glob(f"{own}.json"))]
    if links:
        yield f"JSON schema: {', '.join(links)}\n"


def _commands(group: click.Group, context: click.Context) -> Iterator[str]:
    rows = []
    for name in group.list_commands(context):
        child = group.get_command(context, name)
        entry = COMMANDS.get(name) if group is program else None
        alias = f" (`{entry.alias}`)" if entry is not None and entry.alias else ""
        if child is not None and not child.hidden:
            rows.append(f"| [{name}](#{_anchor(context, name)}){alias} | {_cell(child.get_short_help_str(200))} |")
    yield "\n".join(["| Command | |", "|---|---|", *rows]) + "\n"


def _anchor(context: click.Context, name: str) -> str:
    return f"{context.command_path} {name}".replace(" ", "-")


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    rows = [
        _row(option, context) for option in command.params if isinstance(option, click.Option) and not option.hidden
    ]
    if rows:
        yield "\n".join(["| Flag | Default | Meaning |", "|---|---|---|", *rows]) + "\n"


def _row(option: click.Option, context: click.Context) -> str:
    flags = ", ".join(f"`{flag}`" for flag in (*sorted(option.opts, key=len, reverse=True), *option.secondary_opts))
    metavar = "" if option.is_flag else f" `{_cell(option.make_metavar(context))}`"
    variable = f" Variable: `{option.envvar}`." if isinstance(option.envvar, str) else ""
    needed = " Required." if option.required else ""
    return f"| {flags}{metavar} | {_default(option)} | {_cell(option.help or '')}{needed}{variable} |"


def _default(option: click.Option) -> str:
    shown = option.show_default if isinstance(option.show_default, str) else option.default
    return f"`{shown}`" if option.show_default and shown not in (None, "") else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE} is not what the code says: run make docs")
    PAGE.write_text(page())
