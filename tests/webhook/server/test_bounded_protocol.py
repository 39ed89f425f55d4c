"""The bounds on a request's head."""

import asyncio
import time
from typing import Any

import pytest
import uvicorn

from testbed.processes import MAX_WAIT_SECONDS
from webhook.server import bounded_protocol
from webhook.server.bounded_protocol import BoundedProtocol


async def answer(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401, ARG001  ASGI's signature
    """Answer everything with 200."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


async def exchanged(*pieces: bytes, pause: float = 0.0) -> tuple[bytes, float]:
    """Send the pieces to a server with these bounds; what it answered, and the seconds until it hung up."""
    config = uvicorn.Config(
        answer, http=BoundedProtocol, ws="none", lifespan="off", log_config=None, timeout_keep_alive=1
    )
    config.load()
    server = uvicorn.Server(config)
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(
        lambda: BoundedProtocol(config=config, server_state=server.server_state, app_state={}), "127.0.0.1", 0
    )
    begun = time.monotonic()
    reader, writer = await asyncio.open_connection(*listener.sockets[0].getsockname())
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(pause)
    try:
        received = await asyncio.wait_for(reader.read(), MAX_WAIT_SECONDS)
    except ConnectionResetError:
        received = b""
    seconds = time.monotonic() - begun
    writer.close()
    listener.close()
    return received, seconds


HEAD = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


def test_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that is not whole in time ends the connection, even if bytes keep coming."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.3)
    received, seconds = asyncio.run(exchanged(HEAD[:20], pause=0.1))
    assert received == b""
    assert seconds > 0.2


def test_large_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that grows past the limit ends the connection."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 3600.0)
    received, _ = asyncio.run(exchanged(b"GET / HTTP/1.1\r\n", *([b"x: " + b"y" * 30_000] * 3), pause=0.01))
    assert received == b""


def test_second_slow_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock runs for later requests of a connection too."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.3)
    received, _ = asyncio.run(exchanged(HEAD, HEAD[:10], pause=0.1))
    assert received.startswith(b"HTTP/1.1 200")


def test_unused_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection on which nothing is sent ends after its own, longer time."""
    monkeypatch.setattr(bounded_protocol, "HEAD_SECONDS", 0.01)
    monkeypatch.setattr(bounded_protocol, "UNUSED_SECONDS", 0.3)
    received, seconds = asyncio.run(exchanged())
    assert received == b""
    assert seconds > 0.2
