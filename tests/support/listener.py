"""An HTTP listener in the place of another server: it responds with its name and records its requests."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Listener:
    """The requests so far: method and path of each, in order."""

    name: str
    asked: list[str] = field(default_factory=list)


@contextmanager
def listener(name: str, bound: socket.socket) -> Iterator[Listener]:
    """Answer every request on a listening socket with the name."""
    made = Listener(name)

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            made.asked.append(f"{self.command} {self.path}")
            self.send_response(200)
            self.send_header("Content-Length", str(len(name)))
            self.end_headers()
            self.wfile.write(name.encode())

        do_GET = do_POST = do_PUT = answer  # noqa: N815  names that http.server calls

        def log_message(self, *_: object) -> None:
            """Write nothing to the test's output."""

    server = ThreadingHTTPServer(bound.getsockname()[:2], Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = bound
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
