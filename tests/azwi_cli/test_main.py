"""The program `azwi`: its table of commands, and its exit."""

import os
import signal
import subprocess
import sys
import time
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from azwi_cli import main
from azwi_cli.console import errors
from azwi_cli.main import COMMANDS, program
from testbed.processes import MAX_WAIT_SECONDS, is_asleep, until
from testbed.program import ROOT, TENANT


def azwi(*arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(program, arguments)


def process(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as a user does."""
    command = [sys.executable, "-m", "azwi_cli", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=MAX_WAIT_SECONDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_table(name: str) -> None:
    """Every command of the table can be loaded, and its short help is written in the table only."""
    command = program.get_command(click.Context(program), name)
    assert command is not None
    assert command.name == name
    assert command.short_help == COMMANDS[name].help
    sources = Path(import_module(COMMANDS[name].module).__file__ or "").parent.rglob("*.py")
    assert all(f'short_help="{COMMANDS[name].help}"' not in source.read_text() for source in sources)


def test_help_lists_every_command() -> None:
    """`azwi --help` lists every command and loads none."""
    done = process("--help")
    assert done.returncode == errors.Status.DONE
    assert all(name in done.stdout for name in COMMANDS)

    code = (
        "import sys; from azwi_cli.main import program; program.main(['--help'], standalone_mode=False);"
        "print(sorted({'yaml', 'rich', 'kubernetes', 'azure', 'pydantic', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def test_debug_anywhere() -> None:
    """--debug counts wherever it stands, as in v1.6.0."""
    done = process("version", "--debug")
    assert done.returncode == errors.Status.DONE, done.stderr


def test_debug_of_another_program() -> None:
    """What is after -- belongs to another program."""
    assert main.debug_first(["version", "--debug"]) == ["--debug", "version"]
    assert main.debug_first(["run", "--", "app", "--debug"]) == ["run", "--", "app", "--debug"]


def test_typo() -> None:
    """A misspelt command is wrong usage, answered with what may have been meant."""
    done = azwi("versoin")
    assert done.exit_code == errors.Status.USAGE
    assert "Did you mean 'version'?" in done.stderr


def test_misspelt_option() -> None:
    """A misspelt option is wrong usage, answered with what may have been meant."""
    done = azwi("version", "--outptu=json")
    assert done.exit_code == errors.Status.USAGE
    assert "--output" in done.stderr


def test_usage_error_looks_as_every_error() -> None:
    """Wrong usage of any command has the program's name, the reason, and where its flags are."""
    done = azwi("mutate")
    assert done.exit_code == errors.Status.USAGE
    message, hint = done.stderr.splitlines()
    assert message == "azwi: Missing option '--filename' / '-f'"
    assert hint.endswith(" mutate --help shows what it takes")


def test_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command is found by its short name, too, and help shows both."""
    monkeypatch.setitem(
        COMMANDS, "version", main.CommandEntry("azwi_cli.commands.version", "Print azwi's version.", "ve")
    )
    assert azwi("ve").exit_code == errors.Status.DONE
    assert "version, ve" in azwi("--help").stdout


@pytest.mark.parametrize("arguments", [(), ("help",), ("podidentity",), ("pi",), ("help", "jwks"), ("--version",)])
def test_help_is_no_error(arguments: tuple[str, ...]) -> None:
    """Who asks for help, or for no command at all, is answered on stdout."""
    done = azwi(*arguments)
    assert done.exit_code == errors.Status.DONE, done.output
    assert done.stdout
    assert done.stderr == ""


def raising(error: BaseException) -> click.Command:
    """Return a command that ends so."""

    @click.command("version")
    def command() -> None:
        raise error

    return command


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), click.Abort()])
def test_interrupt(monkeypatch: pytest.MonkeyPatch, stop: BaseException) -> None:
    """Ctrl-C ends a command, also at a question, with 130 and without a trace."""
    monkeypatch.setattr("azwi_cli.commands.version.command", raising(stop))
    done = azwi("version")
    assert done.exit_code == errors.Status.INTERRUPTED
    assert done.stderr == "azwi: interrupted\n"


def test_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused ends with 1, what happened and what to do, on stderr."""
    monkeypatch.setattr(
        "azwi_cli.commands.version.command", raising(errors.CommandError("no such thing", "look elsewhere"))
    )
    done = azwi("version")
    assert done.exit_code == errors.Status.FAILED
    assert done.stdout == ""
    assert done.stderr == "azwi: no such thing\n      look elsewhere\n"


@pytest.mark.parametrize("arguments", [("--debug", "version"), ("version", "--debug")])
def test_debug(arguments: tuple[str, ...]) -> None:
    """--debug may stand before the command and after it."""
    done = process(*arguments)
    assert done.returncode == 0, done.stderr


def test_fault(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An internal error ends with 1 and one sentence; what an exception says may be a secret and is not shown."""
    monkeypatch.setattr("azwi_cli.commands.version.command", raising(RuntimeError("token=secret")))
    monkeypatch.setattr(sys, "argv", ["azwi", "version"])
    with pytest.raises(SystemExit) as end:
        main.run()
    done = capsys.readouterr().err
    assert end.value.code == errors.Status.FAILED
    assert "RuntimeError" in done
    assert "secret" not in done


def test_interrupted_process(tmp_path: Path) -> None:
    """A process that waits for input ends with 130 on Ctrl-C, and says no more than that."""
    os.mkfifo(fifo := tmp_path / "manifests")
    command = [sys.executable, "-m", "azwi_cli", "mutate", "--tenant-id", TENANT, "-f", str(fifo)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        try:
            end = read_by_somebody(fifo)
            until(lambda: is_asleep(running.pid))
            running.send_signal(signal.SIGINT)
            out, err = running.communicate(timeout=MAX_WAIT_SECONDS)
        finally:
            running.kill()
    os.close(end)
    assert (running.returncode, out, err) == (errors.Status.INTERRUPTED, "", "azwi: interrupted\n")


def read_by_somebody(fifo: Path) -> int:
    """Open a pipe for writing as soon as somebody reads it."""
    deadline = time.monotonic() + MAX_WAIT_SECONDS
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def test_closed_pipe() -> None:
    """A reader that goes away early is no fault."""
    command = f"{sys.executable} -m azwi_cli completion bash | true"
    done = subprocess.run(
        ["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, check=False, timeout=MAX_WAIT_SECONDS
    )
    assert done.stderr == ""


def test_full_disk() -> None:
    """Output that cannot be written is a failure, with the system's reason."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "azwi_cli", "version"],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=MAX_WAIT_SECONDS,
        )  # fmt: skip
    assert done.returncode == errors.Status.FAILED
    assert done.stderr == "azwi: the output cannot be written: No space left on device\n"


def test_kubectl_plugin(tmp_path: Path) -> None:
    """The distribution installs azwi as a plugin of kubectl, too, under the name that kubectl looks for."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts["kubectl-azwi"] == scripts["azwi"]
    kubectl = Path(os.environ.get("KUBEBUILDER_ASSETS", "/nowhere")) / "kubectl"
    if not kubectl.exists():
        pytest.skip("kubectl is not on this machine (make cluster-tools)")
    plugin = tmp_path / "kubectl-azwi"
    plugin.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m azwi_cli "$@"\n')
    plugin.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(kubectl), "azwi", "version"], env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False, timeout=MAX_WAIT_SECONDS,
    )  # fmt: skip
    assert done.stdout.startswith("Version: "), done.stderr
