"""A stand-in for an API server at the wire, for what a real one cannot be made to do: hang, fail, talk nonsense."""

import itertools
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import patch


class Answers:
    """What the server is to answer, and what it was asked.

    `script`, where given, has the answers to the first requests, in turn: status and body. The first `silent` requests
    get none, the others theirs after `seconds`.
    """

    def __init__(
        self,
        status: int = 200,
        body: bytes = b"{}",
        seconds: float = 0.0,
        script: Sequence[tuple[int, bytes]] = (),
        silent: int = 0,
    ) -> None:
        self.last = (status, body)
        self._delays = itertools.chain([None] * silent, itertools.repeat(seconds))
        self.script = list(script)
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.sent: list[tuple[str, str, bytes]] = []
        self.gone = threading.Event()

    def delay(self) -> float | None:
        """Return the seconds until the next answer, None if there is none."""
        return next(self._delays)

    def next(self) -> tuple[int, bytes]:
        """Return status and body of the next answer."""
        return self.script.pop(0) if self.script else self.last


@contextmanager
def answering(answers: Answers, directory: Path) -> Iterator[Path]:
    """Serve on loopback, without TLS; what is given is a kubeconfig for it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not answers.gone.is_set():
                answers.asked.append((self.path, dict(self.headers)))
            if answers.gone.wait(answers.delay()):
                self.close_connection = True
                return
            status, body = answers.next()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answers.sent.append((self.command, self.path, body))
            self.do_GET()

        do_PUT = do_PATCH = do_POST  # noqa: N815  the base class's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        # Every client loads the system's authorities, which takes longer than most tests and is of no use here.
        with patch.dict(os.environ, SSL_CERT_FILE=os.devnull):
            yield write_kubeconfig(directory, f"http://127.0.0.1:{server.server_port}")
    finally:
        answers.gone.set()
        server.shutdown()
        server.server_close()


def write_kubeconfig(directory: Path, url: str) -> Path:
    """Write a kubeconfig for an API server, with a bearer token."""
    path = directory / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {"token": "t0ken"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return path
