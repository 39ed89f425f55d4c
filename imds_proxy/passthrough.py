"""The few paths that are left to the real IMDS of the node, where the administrator allows it."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Iterable
from typing import Final
from urllib.parse import quote

from imds_proxy import client
from imds_proxy.client import Answer, ClientError, Outgoing
from imds_proxy.messages import Headers, Request, Response
from imds_proxy.request import ImdsError, query_of
from imds_proxy.settings import Origin, is_below

IMDS: Final = Origin("http", "169.254.169.254", 80, "")
SECONDS: Final = 10.0
MAX_PASSED: Final = 4 << 20
NAME: Final = "azwi-proxy"
# RFC 9110, 7.6.1, and what this hop says itself.
HOP_BY_HOP: Final = frozenset(
    {"connection", "keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization", "te", "trailer"}
    | {"transfer-encoding", "upgrade", "content-length", "host", "via"}
)


class PassThrough:
    """Passes GETs of allowed paths, and of those below them, to the real IMDS."""

    def __init__(self, allowed: tuple[str, ...], origin: Origin = IMDS) -> None:
        self._allowed = allowed
        self._origin = origin

    def allows(self, path: str) -> bool:
        """Whether a path, as `request.path_of` gives it, is passed."""
        return any(is_below(path, root) for root in self._allowed)

    async def __call__(self, request: Request, path: str) -> Response:
        """The real answer; what is sent on is the path that was checked, not the one that was written.

        Raises:
            ImdsError: 502 or 504 when there is none, 508 when the request came from here.
        """
        if NAME in (request.header("via") or ""):
            raise ImdsError(
                508, "loop_detected", "the redirect rules catch this proxy's own requests: it must run as uid 1501"
            )
        outgoing = Outgoing("GET", self._origin, _target(request, path), _passed(request.headers, via=True))
        until = asyncio.get_running_loop().time() + SECONDS
        try:
            async with asyncio.timeout_at(until):
                answer = await client.send(outgoing, _no_tls)
        except TimeoutError:
            raise ImdsError(504, "gateway_timeout", f"the node's IMDS did not answer within {SECONDS:g} s") from None
        except ClientError as error:
            raise ImdsError(502, "bad_gateway", f"the node's IMDS did not answer: {error}") from error
        return Response(answer.status, _bounded(answer, until), _passed(answer.headers))


def _target(request: Request, path: str) -> str:
    query = query_of(request.target)
    return f"{quote(path)}?{query}" if query else quote(path)


def _passed(headers: Iterable[tuple[str, str]], *, via: bool = False) -> Headers:
    """The headers that are not for one hop only."""
    listed = list(headers)
    named = {part.strip().lower() for name, value in listed if name == "connection" for part in value.split(",")}
    kept = tuple((name, value) for name, value in listed if name not in HOP_BY_HOP and name not in named)
    return (*kept, ("via", f"1.1 {NAME}")) if via else kept


async def _bounded(answer: Answer, until: float) -> AsyncGenerator[bytes]:
    """The body within its time and size; beyond them it is cut, which the client sees as cut."""
    size = 0
    pieces = answer.pieces()
    try:
        while True:
            async with asyncio.timeout_at(until):
                piece = await anext(pieces, b"")
            size += len(piece)
            if not piece or size > MAX_PASSED:
                break
            yield piece
    finally:
        answer.close()
    if size > MAX_PASSED:
        raise ClientError(f"the node's IMDS answered more than {MAX_PASSED >> 20} MiB")


def _no_tls() -> ssl.SSLContext:
    raise AssertionError("the node's IMDS speaks http")
