"""Connections between their accept and the end of their TLS handshake."""

import asyncio
import asyncio.constants
import socket
import ssl
from collections import Counter
from contextlib import ExitStack

import pytest
import trustme

from testbed.processes import until_in_loop
from webhook.server import accept
from webhook.server.accept import Listener
from webhook.server.connections import ConnectionTable, Limits

WIDE = Limits(100, 100)


def silent(clients: int, limits: Limits = WIDE) -> tuple[int, Counter[str]]:
    """Open so many connections that send nothing; return how many were kept, and why others were closed."""
    reasons = Counter[str]()

    async def run() -> int:
        table = ConnectionTable("webhook", limits, lambda _, reason: reasons.update([reason]))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        bound = socket.create_server(("127.0.0.1", 0))
        listener = Listener(bound, table, lambda _: asyncio.Protocol(), lambda: context)
        with ExitStack() as stack:
            stack.enter_context(bound)
            for number in range(1, clients + 1):
                stack.enter_context(socket.create_connection(bound.getsockname()))
                await until_in_loop(lambda: len(table) == number or reasons)  # noqa: B023  it is awaited here
            kept = len(table)
            if not reasons:
                await until_in_loop(lambda: reasons.total() == clients)
            listener.close()
            await listener.wait_closed()
        assert len(table) == 0
        return kept

    return asyncio.run(run()), reasons


def test_no_client_hello(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection without a ClientHello is closed after the time of a handshake."""
    monkeypatch.setattr(accept, "HANDSHAKE_SECONDS", 0.2)
    monkeypatch.setattr(asyncio.constants, "SSL_HANDSHAKE_TIMEOUT", 3600.0)  # asyncio's own is a minute
    assert silent(3)[1] == {"slow-handshake": 3}


def test_no_client_hello_in_bulk() -> None:
    """Such connections count from their accept on: beyond the bound the oldest is closed at once."""
    assert silent(3, Limits(2, 2)) == (2, {"replaced": 1})
