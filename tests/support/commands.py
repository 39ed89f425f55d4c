"""Printed commands of azwi, read by azwi's own parsers: a flag that is not there any more ends in an error."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import click

from azwi_cli.main import program

# What ends one command of a line and begins the next.
_OPERATORS = frozenset({"|", "||", "&", "&&", ";", "(", ")"})


def azwi_commands(line: str) -> Iterator[list[str]]:
    """Return the azwi commands of a shell's line, as their arguments."""
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for word in [*lexer, ";"]:
        if word not in _OPERATORS:
            words.append(word)
            continue
        if words[:1] == ["azwi"]:
            yield words[1:]
        words = []


def resolved(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that arguments name, and its own arguments."""
    command: click.Command = program
    with click.Context(program) as context:
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            name, *arguments = arguments
            found = command.get_command(context, name)
            assert found is not None, f"there is no command {name}"
            command = found
    return command, arguments


def parsed(arguments: list[str]) -> dict[str, Any]:
    """Return the parameters that the command gets; it is not run."""
    command, rest = resolved(arguments)
    with command.make_context(command.name, rest) as context:
        return dict(context.params)


def flags(command: click.Command) -> set[str]:
    """Return every spelling of a command's flags."""
    return {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}


def given(arguments: list[str]) -> set[str]:
    """Return the flags among arguments."""
    return {argument.partition("=")[0] for argument in arguments if re.match(r"--?[a-z]", argument)}
