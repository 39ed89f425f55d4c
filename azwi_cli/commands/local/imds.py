"""The project's own proxy as a local IMDS endpoint, in a process of its own."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Final

from azure_workload_identity import names
from azwi_cli.commands.local.process import Signals
from azwi_cli.console.errors import CommandError

READY_PATH: Final = "/readyz"
START_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.05
STOP_SECONDS: Final = 5.0
_OK: Final = 200


@contextmanager
def endpoint(environ: Mapping[str, str], signals: Signals) -> Iterator[str]:
    """Serve the identity of these variables; yields the URL for AZURE_POD_IDENTITY_AUTHORITY_HOST.

    Raises:
        CommandError: when it does not start.
    """
    port = _free_port()
    path = os.pathsep.join(filter(None, sys.path))  # -P: nothing is loaded from the current directory
    with ExitStack() as started:
        with signals.held():
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "imds_proxy"],
                env={**environ, names.ENV_PROXY_PORT: str(port), "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the command; the proxy serves it to its end
            )
            started.callback(_stop, process)
        _wait_until_ready(process, port)
        yield f"http://127.0.0.1:{port}/"


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_until_ready(process: "subprocess.Popen[bytes]", port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        if _is_ready(port):
            return
        time.sleep(POLL_SECONDS)
    raise CommandError(
        "the local IMDS endpoint did not start",
        "its message is above; azwi run without --proxy serves apps whose SDK knows workload identity",
    )


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", READY_PATH)
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
