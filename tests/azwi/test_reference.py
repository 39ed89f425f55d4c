"""The manual knows azwi's commands as they are."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from azwi.main import program
from tests.support.program import ROOT
from tests.test_docs import PAGES

FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def test_page() -> None:
    """The page of azwi is the one that the code makes."""
    command = [sys.executable, "-m", "scripts.write_azwi", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def shown(page: Path) -> Iterator[list[str]]:
    """Return the azwi commands of a page's code blocks, as their arguments."""
    for block in FENCED.findall(page.read_text()):
        for line in block.replace("\\\n", " ").splitlines():
            for part in line.split(" | "):
                if part.strip().startswith(("azwi ", ".venv/bin/azwi ")) and "[OPTIONS]" not in part:
                    yield shlex.split(part.partition(" >")[0], comments=True)[1:]


def resolve(arguments: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that arguments name, and its own arguments."""
    command: click.Command = program
    with click.Context(program) as context:
        while isinstance(command, click.Group) and not arguments[0].startswith("-"):
            name, *arguments = arguments
            found = command.get_command(context, name)
            assert found is not None, f"there is no command {name}"
            command = found
    return command, arguments


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands(page: Path) -> None:
    """Every command of azwi in the manual is one, with flags that it has."""
    for arguments in shown(page):
        command, rest = resolve(arguments)
        known = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
        given = {each.partition("=")[0] for each in rest if re.match(r"--?[a-z]", each)}
        assert given <= known, (page.name, arguments)
