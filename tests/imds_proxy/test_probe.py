"""The probe that delays the other containers until the proxy is ready."""

import math
import socket
import subprocess
import sys
import threading
import time

import pytest

from imds_proxy import probe as module
from imds_proxy.probe import probe
from testbed.processes import MAX_WAIT_SECONDS, free_ports
from testbed.program import ROOT


@pytest.fixture
def once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Allow one attempt only, however much time remains."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", math.inf)


@pytest.mark.usefixtures("once")
def test_ready(shared_port: int) -> None:
    """A proxy that is ready is seen at once."""
    assert probe(shared_port, MAX_WAIT_SECONDS) == 0


def test_nobody_yet(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection is retried until the deadline, and then reported."""
    (port,) = free_ports(1)
    began = time.monotonic()
    assert probe(port, 0.3) == 1
    assert time.monotonic() - began > 0.15
    assert capsys.readouterr().err == f"azwi-proxy: not ready on port {port} after 0.3 s: Connection refused\n"


def test_late() -> None:
    """A proxy that starts to listen meanwhile is found."""
    (port,) = free_ports(1)

    def listen_later() -> None:
        time.sleep(0.3)
        with socket.create_server(("127.0.0.1", port)) as server:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 \r\n\r\n")
            connection.close()

    thread = threading.Thread(target=listen_later)
    thread.start()
    assert probe(port, MAX_WAIT_SECONDS) == 0
    thread.join()


@pytest.mark.usefixtures("once")
def test_stopping(capsys: pytest.CaptureFixture[str]) -> None:
    """One that answers anything but 200 is not ready."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer() -> None:
            connection, _ = server.accept()
            connection.sendall(b"HTTP/1.1 503 \r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        assert probe(port, MAX_WAIT_SECONDS) == 1
        thread.join()
    assert "it answered HTTP/1.1 503" in capsys.readouterr().err


def test_light() -> None:
    """It runs every second while a pod starts, so it loads neither asyncio nor TLS."""
    program = (
        "import sys; from imds_proxy import probe, settings; sys.exit(bool({'asyncio', 'ssl'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
