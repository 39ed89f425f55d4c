"""Completion in shells."""

import shutil
import subprocess
import sys
from pathlib import Path

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


KUBECONFIG = """
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: t}}]
contexts: [{name: prod, context: {cluster: c, user: u}}, {name: test, context: {cluster: c, user: u}}]
current-context: prod
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("azwi doctor --context p", ["prod"]),
        ("azwi doctor --azure-env azureus", ["AzureUSGovernmentCloud"]),
        ("azwi sa create --skip-phases aad-application,role", ["aad-application,role-assignment"]),
        ("azwi mutate --opt-in pod-label,serv", ["pod-label,service-account"]),
        ("azwi doctor --namespace s", []),
    ],
)
def test_values_are_completed(tmp_path: Path, words: str, expected: list[str]) -> None:
    """Tab offers contexts, clouds, phases and modes; without a cluster that answers it offers no namespaces."""
    (tmp_path / "config").write_text(KUBECONFIG)
    environment = {
        "_AZWI_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
        "KUBECONFIG": str(tmp_path / "config"),
    }
    code = "from azwi_cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert [line.removeprefix("plain,") for line in done.stdout.split()] == expected, done.stderr


def test_unknown_shell() -> None:
    """Another shell is wrong usage, and the message names those that are known."""
    done = azwi("completion", "cmd")
    assert done.exit_code == 2
    assert "'fish'" in done.stderr
