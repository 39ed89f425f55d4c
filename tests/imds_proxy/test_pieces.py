"""A response that arrives in several segments, as from a real server."""

import asyncio
import gc
import ssl
from pathlib import Path

import trustme

from imds_proxy.client import ClientRequest, send
from imds_proxy.settings import Origin


def contexts(directory: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Make the TLS contexts of a server at 127.0.0.1 and of its client."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    return server, ssl.create_default_context(cafile=directory / "ca.crt")


async def serve_in_pieces(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the head, and with the body a moment later."""
    await reader.readuntil(b"\r\n\r\n")
    for piece in (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", b"first", b" last"):
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.02)
    writer.close()


def test_body_after_head(tmp_path: Path) -> None:
    """The connection stays open until the body is complete, whatever is garbage-collected meanwhile."""
    of_server, of_client = contexts(tmp_path)

    async def ask() -> bytes:
        async with await asyncio.start_server(serve_in_pieces, "127.0.0.1", 0, ssl=of_server) as server:
            port = server.sockets[0].getsockname()[1]
            answer = await send(
                ClientRequest("GET", Origin("https", "127.0.0.1", port, ""), "/", ()), lambda: of_client
            )
            gc.collect()
            body = await answer.body(100)
            answer.close()
            return body

    assert asyncio.run(ask()) == b"first last"
