"""Completion in shells."""

import shutil
import subprocess
import sys

import pytest

from azwi_cli.commands import completion
from azwi_cli.main import COMMANDS
from testbed.program import ROOT
from tests.azwi_cli.test_main import azwi


@pytest.mark.parametrize("shell", completion.SHELLS)
def test_code(shell: str) -> None:
    """Every shell gets its code, which asks azwi itself; where the shell is there, it takes it."""
    code = azwi("completion", shell)
    assert code.exit_code == 0, code.output
    assert "_AZWI_COMPLETE" in code.stdout
    if program := shutil.which(shell):
        done = subprocess.run([program, "-n"], input=code.stdout, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_commands_are_completed() -> None:
    """Tab after `azwi ` offers every command, without loading one."""
    environment = {"_AZWI_COMPLETE": "bash_complete", "COMP_WORDS": "azwi ", "COMP_CWORD": "1"}
    code = "from azwi_cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert [line.removeprefix("plain,") for line in done.stdout.split()] == list(COMMANDS)


def test_unknown_shell() -> None:
    """Another shell is wrong usage, and the message names those that are known."""
    done = azwi("completion", "cmd")
    assert done.exit_code == 2
    assert "'fish'" in done.stderr
