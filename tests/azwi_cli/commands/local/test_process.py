"""Signals and the exit status of the command of `azwi run`."""

import os
import pty
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from azwi_cli.commands.local.process import KILLED, NotExecutableError, NotFoundError, Signals
from testbed.processes import MAX_WAIT_SECONDS, until
from testbed.program import ROOT

# Runs a shell as azwi does, and says afterwards that it could clean up.
PROGRAM = """
import os, sys
from contextlib import closing
from azwi_cli.commands.local.process import Signals
with Signals() as signals, closing(signals):
    try:
        status = signals.run(["sh", "-c", sys.argv[1]], os.environ)
    finally:
        print("cleaned up", flush=True)
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 7", 7), ("kill -KILL $$", KILLED + 9), ("kill $$", KILLED + 15)]
)
def test_status(script: str, status: int) -> None:
    """The status is the command's, or 128 and the number of the signal that ended it."""
    with Signals() as signals:
        assert signals.run(["sh", "-c", script], os.environ) == status


def test_no_program() -> None:
    """What cannot be run ends as in a shell."""
    with Signals() as signals:
        with pytest.raises(NotFoundError, match="there is no program 'no-such-program'") as missing:
            signals.run(["no-such-program"], os.environ)
        with pytest.raises(NotExecutableError, match="Permission denied") as closed:
            signals.run([str(ROOT)], os.environ)
    assert (missing.value.exit_code, closed.value.exit_code) == (127, 126)


def test_stopped_before_the_command() -> None:
    """A signal before the command ends azwi as it would have, once what was made is removed; later ones are ignored."""
    removed = []

    def remove() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        removed.append(True)

    def stopped() -> None:
        with Signals() as signals, ExitStack() as made, closing(signals):
            made.callback(remove)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as end:
        stopped()
    assert end.value.code == KILLED + signal.SIGTERM
    assert removed == [True]


def test_held() -> None:
    """A signal while a process starts is handled after it."""
    started = []

    def start() -> None:
        with Signals() as signals, signals.held():
            os.kill(os.getpid(), signal.SIGTERM)
            started.append(True)

    with pytest.raises(SystemExit):
        start()
    assert started == [True]


def test_ignored_signals_stay_ignored() -> None:
    """What nohup ignores does not end the command."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signals.run(["sh", "-c", "kill -HUP $$; exit 3"], os.environ) == 3
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_passed_on() -> None:
    """A signal to azwi alone reaches the command."""
    script = "trap 'echo got; exit 9' TERM; echo ready; while :; do sleep 0.05; done"
    command = [sys.executable, "-c", PROGRAM, script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=MAX_WAIT_SECONDS)
    assert (process.returncode, output) == (9, "got\ncleaned up\n")


def test_signal_just_before_the_wait(tmp_path: Path) -> None:
    """A signal that comes just before azwi waits for the command reaches it at once.

    It is sent to another thread: like such a one, it does not interrupt the system call of the main thread.
    """
    runs = tmp_path / "runs"

    def send() -> None:
        until(runs.exists)
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    other = threading.Thread(target=send)
    other.start()
    with Signals() as signals:
        script = f"touch {runs}; exec sleep {2 * MAX_WAIT_SECONDS}"
        assert signals.run(["sh", "-c", script], os.environ) == KILLED + signal.SIGTERM
    other.join()


def test_control_c() -> None:
    """Ctrl-C at a terminal reaches the command once: the terminal sends it to both."""
    count = "n=0; trap 'n=$((n+1)); echo got' INT; trap 'echo $n times; exit 0' USR1"
    command = ["setsid", "--ctty", sys.executable, "-c", PROGRAM, f"{count}; echo ready; while :; do sleep 0.05; done"]
    terminal, other = pty.openpty()
    with subprocess.Popen(command, cwd=ROOT, stdin=other, stdout=other, stderr=other) as process:
        os.close(other)
        watchdog = threading.Timer(MAX_WAIT_SECONDS, process.kill)
        watchdog.start()
        seen = _read_until(terminal, b"ready")
        # azwi gets its signals after the command has had the first: two of a kind at once would become one.
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        os.write(terminal, b"\x03")
        seen += _read_until(terminal, b"got")
        process.send_signal(signal.SIGUSR1)
        process.send_signal(signal.SIGCONT)
        seen += _read_until(terminal, b"cleaned up")
        assert process.wait(MAX_WAIT_SECONDS) == 0
        watchdog.cancel()
    os.close(terminal)
    assert b"1 times" in seen


def _read_until(terminal: int, text: bytes) -> bytes:
    seen = b""
    while text not in seen:
        seen += os.read(terminal, 1000)
    return seen
