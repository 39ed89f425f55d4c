"""One outgoing HTTP/1.1 request on a connection of its own, with bounds on the response.

A token is fetched about once in half an hour, so there is no connection to keep open. httptools parses the responses,
as it does the requests in `server`; an HTTP client library would cost 5 to 11 MiB in every pod that has the proxy.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from imds_proxy.http_proxy import HttpProxy
from imds_proxy.messages import Headers
from imds_proxy.settings import Origin
from imds_proxy.trust import Trust

MAX_HEAD: Final = 64 << 10
MAX_FIELDS: Final = 100
# Of chunk sizes, extensions and trailers in a row: bytes of a body that are not its content.
MAX_FRAMING: Final = 64 << 10
READ_SIZE: Final = 64 << 10
SUCCESS: Final = 200
HEAD_END: Final = b"\r\n\r\n"
BLANKS: Final = " \t"  # optional around a header's value: RFC 9110, 5.5


class ClientError(Exception):
    """No complete response arrived; the message says why, and contains nothing that was sent."""


@dataclass(frozen=True, slots=True)
class ClientRequest:
    """A request. `server_name` is the TLS name of the server where it is not the origin's host."""

    method: str
    origin: Origin
    target: str
    headers: Headers
    body: bytes = b""
    server_name: str = ""

    def __repr__(self) -> str:
        """Leave out the body, which contains an assertion."""
        return f"ClientRequest({self.method} {self.origin.netloc})"

    def encoded(self) -> bytes:
        """The bytes of the request."""
        own = (("host", self.origin.netloc), ("connection", "close"), ("content-length", str(len(self.body))))
        lines = [
            f"{self.method} {self.target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in (*own, *self.headers)),
        ]
        return "\r\n".join((*lines, "", "")).encode("latin-1") + self.body


class ClientResponse:
    """The response to a request: its head, and its body as it arrives."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self.headers: list[tuple[str, str]] = []
        self._reader = reader
        self._writer = writer  # kept, because a StreamWriter closes the connection when it is collected
        self._parser = HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._framing = 0
        self._broken: ClientError | None = None
        self._has_head = False
        self._is_complete = False

    def on_message_begin(self) -> None:
        """Start a response; one before it was an interim one (1xx)."""
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header; a trailer, which comes after the body, is dropped."""
        if not self._has_head and len(self.headers) <= MAX_FIELDS:
            self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip(BLANKS)))

    def on_headers_complete(self) -> None:
        """Note the status at the end of the head."""
        self.status = self._parser.get_status_code()
        self._has_head = self.status >= SUCCESS
        self._framing = 0

    def on_body(self, body: bytes) -> None:
        """Add a chunk of the body."""
        self._framing = 0
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Note the end of the body."""
        self._is_complete = self._has_head

    async def head(self) -> None:
        """Wait for the head.

        Raises:
            ClientError: when none arrives.
        """
        size = 0
        while not self._has_head:
            try:
                size += await self._read()
            except ClientError as error:
                if self.status < SUCCESS:
                    raise
                self._broken = error  # the head is complete; only the body is not
            if (size > MAX_HEAD and not self._has_head) or len(self.headers) > MAX_FIELDS:
                raise ClientError("the answer's head is too large")

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body, chunk by chunk.

        Raises:
            ClientError: when it breaks off.
        """
        while True:
            for chunk in self._chunks:
                yield chunk
            self._chunks.clear()
            if self._is_complete:
                return
            if self._broken is not None:
                raise self._broken
            await self._read()
            if self._framing > MAX_FRAMING:
                raise ClientError("the answer's trailers are too large")

    async def body(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            ClientError: when it breaks off, or is larger than `limit` bytes.
        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > limit:
                raise ClientError(f"the answer is larger than {limit >> 10} KiB")
        return bytes(body)

    def close(self) -> None:
        """Drop the connection."""
        self._writer.transport.abort()

    async def _read(self) -> int:
        try:
            data = await self._reader.read(READ_SIZE)
            if data:
                self._framing += len(data)
                self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            raise ClientError("what answered does not speak HTTP/1.1") from None
        except OSError as error:
            raise ClientError(f"the connection broke: {_reason(error)}") from error
        if not data:
            self._end_of_connection()
        return len(data)

    def _end_of_connection(self) -> None:
        """End a body that has neither a length nor chunks; any other broke off."""
        if not self._has_head or any(name in {"content-length", "transfer-encoding"} for name, _ in self.headers):
            raise ClientError("the connection was cut in the middle of the answer")
        self._is_complete = True


async def send(request: ClientRequest, trust: Trust, proxy: HttpProxy | None = None) -> ClientResponse:
    """Send a request and wait for the head of the response, which the caller closes.

    There is no time limit here: the caller sets one for the whole exchange.

    Raises:
        ClientError: when no head arrives.
    """
    reader, writer = await _connect(request, trust, proxy)
    response = ClientResponse(reader, writer)
    try:
        writer.write(request.encoded())
        await writer.drain()
        await response.head()
    except OSError as error:
        response.close()
        raise ClientError(f"the connection broke: {_reason(error)}") from error
    except BaseException:
        response.close()
        raise
    return response


async def _connect(
    request: ClientRequest, trust: Trust, proxy: HttpProxy | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    origin = request.origin
    context = trust() if origin.scheme == "https" else None
    name = request.server_name or origin.host
    try:
        if proxy is not None:
            return await _tunnel(proxy, origin, name, trust())
        return await asyncio.open_connection(
            origin.host, origin.port, ssl=context, server_hostname=name if context else None
        )
    except ssl.SSLCertVerificationError as error:
        raise ClientError(
            f"the certificate of {origin.netloc} is not trusted ({error.verify_message}): behind a proxy that opens "
            "TLS, its CA belongs into the ConfigMap of the webhook's --proxy-ca-configmap, or into SSL_CERT_FILE"
        ) from error
    except (OSError, ValueError) as error:  # ValueError: a name that no host can have
        raise ClientError(f"no connection to {origin.netloc}: {_reason(error)}") from error


async def _tunnel(
    proxy: HttpProxy, origin: Origin, name: str, context: ssl.SSLContext
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect through an HTTP proxy, by CONNECT."""
    reader, writer = await asyncio.open_connection(proxy.host, proxy.port, ssl=context if proxy.tls else None)
    try:
        host = f"[{origin.host}]" if ":" in origin.host else origin.host
        authority = f"{host}:{origin.port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        if proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        writer.write("\r\n".join((*lines, "", "")).encode("latin-1"))
        _check_tunnel(await reader.readuntil(HEAD_END), proxy)
        await writer.start_tls(context, server_hostname=name)
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        writer.transport.abort()
        raise ClientError(f"the proxy {proxy.host}:{proxy.port} does not answer CONNECT: check HTTPS_PROXY") from None
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


def _check_tunnel(head: bytes, proxy: HttpProxy) -> None:
    status = head.split(b" ", 2)[1:2]
    if status != [b"200"]:
        shown = status[0][:3].decode("latin-1") if status else "something odd"
        raise ClientError(f"the proxy {proxy.host}:{proxy.port} answered {shown} to CONNECT: check HTTPS_PROXY")


def _reason(error: Exception) -> str:
    return getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error) or type(error).__name__
