"""The process that keeps the listening sockets open, and the server that it supervises."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_workload_identity import names
from testbed.pods import pod
from testbed.processes import MAX_WAIT_SECONDS, child, running, until, wait_until
from testbed.program import JSON, ROOT, Program, listens, review, started

POD = pod(serviceAccountName="quickstart")
BODY = json.dumps(review(POD)).encode()
CLIENTS = 4


def is_gone(process: int) -> bool:
    """Whether a process has ended."""
    return not Path(f"/proc/{process}").exists()


def wait_until_gone(process: int) -> None:
    """Wait for the end of a process that is not a child of this one."""
    until(lambda: is_gone(process))


@contextlib.contextmanager
def clients(program: Program) -> Iterator[list[object]]:
    """Send requests from several clients, each over a new connection; yield the statuses and errors."""
    found: list[object] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                found.append(program.send(BODY)[0])
            except (OSError, http.client.HTTPException) as error:  # the latter for a response that broke off
                found.append(error)

    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_killed_server(tmp_path: Path) -> None:
    """When the server is killed no connection is refused: a replacement answers, and log and metrics report it."""
    with started(tmp_path) as program:
        first = child(program.process.pid)
        with clients(program) as found:
            wait_until(lambda: len(found) > CLIENTS, program.process, program.log, MAX_WAIT_SECONDS)
            os.kill(first, signal.SIGKILL)
            before = len(found)
            wait_until(lambda: len(found) > before + 4 * CLIENTS, program.process, program.log, MAX_WAIT_SECONDS)
        failed = [result for result in found if result != http.client.OK]
        # Requests in flight are lost, at most one a client.
        assert len(failed) <= CLIENTS
        assert not [result for result in failed if isinstance(result, ConnectionRefusedError)]
        assert child(program.process.pid) != first
        assert program.get(program.health, "/readyz")[0] == http.client.OK
        assert "azwi_server_crashes 1.0" in program.get(program.metrics, "/metrics")[1]
        (line,) = [line for line in program.lines() if line["level"] == "error"]
        assert line["message"].startswith("signal 9 ended the server")
        assert program.stop() == 0


def test_killed_twice(tmp_path: Path) -> None:
    """There is no third server: the program exits, so that Kubernetes backs off."""
    with started(tmp_path) as program:
        os.kill(child(program.process.pid), signal.SIGKILL)
        assert program.admit(POD)["allowed"]
        os.kill(child(program.process.pid), signal.SIGKILL)
        assert program.process.wait(MAX_WAIT_SECONDS) == 128 + signal.SIGKILL
        assert not listens(program.port)


def test_killed_supervisor(tmp_path: Path) -> None:
    """Without its supervisor the server exits."""
    with started(tmp_path) as program:
        server = child(program.process.pid)
        program.process.kill()
        wait_until_gone(server)
        assert is_gone(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(tmp_path: Path, number: signal.Signals) -> None:
    """A signal to the program reaches the server."""
    with started(tmp_path) as program:
        server = child(program.process.pid)
        assert program.stop(number) == 0
        assert is_gone(server)


def test_interrupted_start() -> None:
    """Ctrl-C while the server is being loaded ends it without a traceback."""
    command = [sys.executable, "-m", "webhook.runtime.supervisor"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        while not children.read_text():
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=MAX_WAIT_SECONDS)
    assert process.returncode == 128 + signal.SIGINT
    assert errors == ""


def test_releases_sockets_at_shutdown(tmp_path: Path) -> None:
    """After the drain period new connections are refused, while open requests are still finished."""
    with started(tmp_path) as program:
        connection = program.connect()
        connection.putrequest("POST", names.MUTATE_PATH)
        for name, value in {**JSON, "Content-Length": str(len(BODY))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        program.process.send_signal(signal.SIGTERM)
        until(lambda: not listens(program.port))
        assert not listens(program.port)
        assert program.process.poll() is None
        connection.send(BODY)
        assert connection.getresponse().status == http.client.OK
        connection.close()
        assert program.process.wait(MAX_WAIT_SECONDS) == 0


def supervised(tmp_path: Path, serve: str, before: str = "") -> int:
    """Run a server that is one expression, supervised, after a statement; return the exit status."""
    program = (
        "import os, signal, sys, threading, time\nfrom webhook.runtime.supervisor import run_supervised\n"
        f"{before}\n"
        f"sys.exit(run_supervised(lambda _: {serve}))"
    )
    with running([sys.executable, "-c", program], tmp_path / "supervisor.log", cwd=Path.cwd()) as process:
        return process.wait(MAX_WAIT_SECONDS)


@pytest.mark.parametrize(
    ("serve", "status"),
    [
        ("0", 0),
        ("2", 2),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),  # it had no sockets yet
        ("os.kill(os.getppid(), signal.SIGTERM) or signal.pause()", 143),
    ],
)
def test_status(tmp_path: Path, serve: str, status: int) -> None:
    """The exit status is the server's."""
    assert supervised(tmp_path, serve) == status


def test_signal_just_before_the_wait(tmp_path: Path) -> None:
    """A SIGTERM that comes just before the wait for the server reaches the server.

    It is sent to another thread: like such a one, it does not interrupt the system call of the main thread.
    """
    thread = """
runs, tell = os.pipe()
def send():
    os.read(runs, 1)
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Thread(target=send).start()
"""
    assert supervised(tmp_path, "os.write(tell, b'x') and signal.pause()", before=thread) == 143


def test_signal_before_the_server(tmp_path: Path) -> None:
    """A SIGTERM that comes before the server's process exists reaches it, and no other process."""
    send = """
os.setsid()
install = signal.signal
def install_and_send(number, handler):
    install(number, handler)
    if number == signal.SIGTERM and handler != signal.SIG_DFL:
        os.kill(os.getpid(), number)
signal.signal = install_and_send
"""
    assert supervised(tmp_path, "signal.pause()", before=send) == 143


def test_loads_nothing_of_the_server() -> None:
    """The supervisor's process has none of the server's libraries in memory, nor what costs it a mebibyte."""
    program = "import sys, webhook.runtime.supervisor; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "dataclasses", "pydantic", "ssl", "typing", "uvloop", "webhook.runtime.main"} & set(loaded)
