"""Requests, answers and refusals of an HTTPS listener on loopback."""

import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from azure_workload_identity.types import JsonObject


@dataclass(frozen=True, slots=True)
class Request:
    """One request; `path` is decoded, `body` is the JSON or None, or bytes where the API is not of JSON."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    base: str

    @property
    def line(self) -> str:
        """The method and path, for tests that read what was sent."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: JsonObject | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes | None = None  # instead of the body
    content_type: str = "application/json; charset=utf-8"

    @property
    def content(self) -> bytes:
        """What goes over the wire."""
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else json.dumps(self.body).encode()


class Refusal(Exception):  # noqa: N818  an answer, not a fault of the emulator
    """An error in the form that ARM and Graph share: `{"error": {"code", "message"}}`."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.answer = Answer(status, {"error": {"code": code, "message": message}}, headers or {})


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Say nothing of clients that go away, or do not trust the certificate."""


Headers = Mapping[str, str]


def as_json(headers: Headers, raw: bytes) -> Any:  # noqa: ANN401  JSON
    """Read a body as ARM and Graph do.

    Raises:
        Refusal: It is not JSON, or does not say so.
    """
    if raw and not headers.get("content-type", "").startswith("application/json"):
        raise Refusal(415, "UnsupportedMediaType", "The content media type is not supported. Use JSON.")
    try:
        return json.loads(raw) if raw else None
    except ValueError:
        raise Refusal(400, "InvalidRequestContent", "The request content was invalid JSON.") from None


def as_bytes(_: Headers, raw: bytes) -> bytes:
    """Read a body as it is."""
    return raw


@contextmanager
def listening(
    respond: Callable[[Request], Answer],
    context: ssl.SSLContext,
    clock: Callable[[], float] = time.time,
    read: Callable[[Headers, bytes], Any] = as_json,
) -> Iterator[str]:
    """Serve on a free port of 127.0.0.1 and give the base URL. `clock` dates the answers, `read` reads the bodies."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60.0  # an idle connection must not hold the test process
        disable_nagle_algorithm = True

        def _serve(self) -> None:
            answer = self._answer()
            content = answer.content
            self.send_response_only(answer.status)
            self.send_header("Date", self.date_time_string(clock()))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            if content:
                self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _answer(self) -> Answer:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                return respond(self._request(raw))
            except Refusal as refusal:
                return refusal.answer

        def _request(self, raw: bytes) -> Request:
            url = urlsplit(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = read(headers, raw)
            query = dict(parse_qsl(url.query, keep_blank_values=True))
            return Request(self.command, unquote(url.path), query, headers, body, f"https://{self.headers['Host']}")

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815  the names that the library calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = _Server(("127.0.0.1", 0), Handler)
    # The handshake belongs to the connection's thread, not to the one that accepts.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
