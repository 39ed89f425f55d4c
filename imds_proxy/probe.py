"""Waits until the proxy of this pod is ready. It runs every second while a pod starts, so it imports very little."""

import socket
import sys
import time
from typing import Final

# The kubelet gives the command ten seconds.
SECONDS: Final = 9.0
PAUSE_SECONDS: Final = 0.1
REQUEST: Final = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
READY: Final = b"HTTP/1.1 200 "


def probe(port: int, seconds: float = SECONDS) -> int:
    """Poll until the proxy is ready; the exit status is 0 then, 1 when it is not within some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        reason = _unready_reason(port, max(0.1, deadline - time.monotonic()))
        if reason is None:
            return 0
        if time.monotonic() + PAUSE_SECONDS >= deadline:
            print(f"azwi-proxy: not ready on port {port} after {seconds:g} s: {reason}", file=sys.stderr)  # noqa: T201  its output
            return 1
        time.sleep(PAUSE_SECONDS)


def _unready_reason(port: int, seconds: float) -> str | None:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
            connection.sendall(REQUEST)
            first = connection.recv(len(READY), socket.MSG_WAITALL)
    except OSError as error:
        return error.strerror or str(error)
    return None if first == READY else f"it answered {first.decode('latin-1').strip() or 'nothing'}"
