"""The manual knows azwi's commands as they are."""

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azwi_cli.main import COMMANDS
from testbed.program import ROOT
from tests.support.commands import flags, given, resolved
from tests.test_docs import PAGES

MENTIONED = re.compile(r"\bazwi ([a-z][^;,:.)`|\n]*)")
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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands(page: Path) -> None:
    """Every command of azwi in the manual is one, with flags that it has."""
    for arguments in shown(page):
        command, rest = resolved(arguments)
        assert given(rest) <= flags(command), (page.name, arguments)


def printed() -> Iterator[list[str]]:
    """Return the azwi commands that the code tells of in its texts, as their arguments."""
    commands = {*COMMANDS, *(entry.alias for entry in COMMANDS.values())}
    for file in (ROOT / "azwi_cli").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for words in map(str.split, MENTIONED.findall(node.value)):
                    if words[0] in commands:
                        yield words


def test_hints() -> None:
    """Every command that an error, a hint or a helptext names is one, with flags that it has."""
    found = list(printed())
    assert ["sa", "delete", "phase", "role-assignment", "--role-assignment-id"] in found
    for arguments in found:
        command, rest = resolved(arguments)
        assert given(rest) <= flags(command) | {"--help"}, arguments
