"""The process that keeps the server's sockets, and the server that it stands by."""

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
from testbed.processes import child, running, wait_until
from testbed.program import JSON, Program, listens, review, started

POD = pod(serviceAccountName="quickstart")
BODY = json.dumps(review(POD)).encode()
CLIENTS = 4
DEADLINE = 10.0


def is_gone(process: int) -> bool:
    """Whether a process has ended."""
    return not Path(f"/proc/{process}").exists()


def wait_until_gone(process: int) -> None:
    """Wait for the end of a process that is nobody's here."""
    deadline = time.monotonic() + DEADLINE
    while not is_gone(process) and time.monotonic() < deadline:
        time.sleep(0.02)


@contextlib.contextmanager
def asking(program: Program) -> Iterator[list[object]]:
    """Have clients ask over a new connection each time; what came of it, a status or an error each."""
    found: list[object] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            try:
                found.append(program.send(BODY)[0])
            except OSError as error:
                found.append(error)

    clients = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield found
    finally:
        over.set()
        for client in clients:
            client.join()


def test_killed_server(tmp_path: Path) -> None:
    """When the server is killed nobody is refused: another one answers in its place, and log and metrics tell."""
    with started(tmp_path) as program:
        first = child(program.process.pid)
        with asking(program) as found:
            wait_until(lambda: len(found) > CLIENTS, program.process, program.log, DEADLINE)
            os.kill(first, signal.SIGKILL)
            before = len(found)
            wait_until(lambda: len(found) > before + 4 * CLIENTS, program.process, program.log, DEADLINE)
        failed = [each for each in found if each != http.client.OK]
        # What the dead one had in hand is lost, one request a client at most.
        assert len(failed) <= CLIENTS
        assert not [each for each in failed if isinstance(each, ConnectionRefusedError)]
        assert child(program.process.pid) != first
        assert program.get(program.health, "/readyz")[0] == http.client.OK
        assert "azwi_server_crashes 1.0" in program.get(program.metrics, "/metrics")[1]
        (said,) = [line for line in program.lines() if line["level"] == "error"]
        assert said["message"].startswith("signal 9 ended the server")
        assert program.stop() == 0


def test_killed_twice(tmp_path: Path) -> None:
    """There is no third server: Kubernetes is to see it, and to wait before it starts another."""
    with started(tmp_path) as program:
        os.kill(child(program.process.pid), signal.SIGKILL)
        assert program.admit(POD)["allowed"]
        os.kill(child(program.process.pid), signal.SIGKILL)
        assert program.process.wait(DEADLINE) == 128 + signal.SIGKILL
        assert not listens(program.port)


def test_killed_keeper(tmp_path: Path) -> None:
    """Without its keeper the server ends."""
    with started(tmp_path) as program:
        server = child(program.process.pid)
        program.process.kill()
        wait_until_gone(server)
        assert is_gone(server)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(tmp_path: Path, number: signal.Signals) -> None:
    """What the program is told to do, the server does."""
    with started(tmp_path) as program:
        server = child(program.process.pid)
        assert program.stop(number) == 0
        assert is_gone(server)


def test_keeps_nothing_of_a_server_that_stops(tmp_path: Path) -> None:
    """Who comes after the drain period is refused, though the server still finishes what is open."""
    with started(tmp_path) as program:
        connection = program.connect()
        connection.putrequest("POST", names.MUTATE_PATH)
        for name, value in {**JSON, "Content-Length": str(len(BODY))}.items():
            connection.putheader(name, value)
        connection.endheaders()
        program.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + DEADLINE
        while listens(program.port) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not listens(program.port)
        assert program.process.poll() is None
        connection.send(BODY)
        assert connection.getresponse().status == http.client.OK
        connection.close()
        assert program.process.wait(DEADLINE) == 0


def kept(tmp_path: Path, serve: str) -> int:
    """Have a server kept that is one expression, of `kept`; the exit status."""
    program = (
        f"import os, signal, sys\nfrom webhook.runtime.supervisor import keep\nsys.exit(keep(lambda kept: {serve}))"
    )
    with running([sys.executable, "-c", program], tmp_path / "keeper.log", cwd=Path.cwd()) as process:
        return process.wait(DEADLINE)


@pytest.mark.parametrize(
    ("serve", "status"),
    [
        ("0", 0),
        ("2", 2),
        ("os.kill(os.getpid(), signal.SIGKILL)", 137),  # there was nothing to keep
        ("os.kill(os.getppid(), signal.SIGTERM) or signal.pause()", 143),
    ],
)
def test_status(tmp_path: Path, serve: str, status: int) -> None:
    """The program ends as the server did."""
    assert kept(tmp_path, serve) == status


def test_loads_nothing_of_the_server() -> None:
    """The keeper's process has none of the server's libraries in memory."""
    program = "import sys, webhook.runtime.supervisor; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert not {"asyncio", "pydantic", "uvloop", "ssl", "webhook.runtime.main"} & set(loaded)
