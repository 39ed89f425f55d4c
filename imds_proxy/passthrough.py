"""Forwards the few paths that the administrator allows to the node's own IMDS."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Iterable
from typing import Final
from urllib.parse import quote

from imds_proxy import client
from imds_proxy.client import ClientError, ClientRequest, ClientResponse
from imds_proxy.messages import BODILESS, Headers, Request, Response
from imds_proxy.request import ImdsError, query_of
from imds_proxy.settings import Origin, is_below

IMDS: Final = Origin("http", "169.254.169.254", 80, "")
SECONDS: Final = 10.0
MAX_BODY: Final = 4 << 20
NAME: Final = "azwi-proxy"
# The headers that are forwarded; IMDS needs no others, and this hop writes its own.
REQUEST_HEADERS: Final = frozenset({"accept", "metadata", "user-agent", "x-ms-client-request-id"})
RESPONSE_HEADERS: Final = frozenset(
    {"cache-control", "content-type", "date", "etag", "last-modified", "location", "retry-after", "server"}
    | {"x-ms-client-request-id", "x-ms-request-id"}
)


class PassThrough:
    """Forwards GETs of allowed paths, and of paths below them, to the node's IMDS."""

    def __init__(self, allowed: tuple[str, ...], origin: Origin = IMDS) -> None:
        self._allowed = allowed
        self._origin = origin

    def allows(self, path: str) -> bool:
        """Whether a path, as `request.path_of` returns it, is forwarded."""
        return any(is_below(path, root) for root in self._allowed)

    async def __call__(self, request: Request, path: str) -> Response:
        """Forward a request and return the response; the forwarded path is the checked one, not the one as written.

        Raises:
            ImdsError: 502 or 504 when there is no response, 508 when the request came from this proxy.
        """
        if NAME in (request.header("via") or ""):
            raise ImdsError(
                508, "loop_detected", "the redirect rules catch this proxy's own requests: it must run as uid 1501"
            )
        headers = (*_only(REQUEST_HEADERS, request.headers), ("via", f"1.1 {NAME}"))
        forwarded = ClientRequest("GET", self._origin, _target(request, path), headers)
        deadline = asyncio.get_running_loop().time() + SECONDS
        try:
            async with asyncio.timeout_at(deadline):
                response = await client.send(forwarded, _no_tls)
        except TimeoutError:
            raise ImdsError(504, "gateway_timeout", f"the node's IMDS did not answer within {SECONDS:g} s") from None
        except ClientError as error:
            raise ImdsError(502, "bad_gateway", f"the node's IMDS did not answer: {error}") from error
        passed = _only(RESPONSE_HEADERS, response.headers)
        if response.status in BODILESS:
            response.close()
            return Response(response.status, b"", passed)
        return Response(response.status, _bounded(response, deadline), passed)


def _target(request: Request, path: str) -> str:
    query = query_of(request.target)
    return f"{quote(path)}?{query}" if query else quote(path)


def _only(names: frozenset[str], headers: Iterable[tuple[str, str]]) -> Headers:
    return tuple((name, value) for name, value in headers if name in names)


async def _bounded(response: ClientResponse, deadline: float) -> AsyncGenerator[bytes]:
    """The body within its time and size; beyond them it is cut, which the client notices."""
    size = 0
    chunks = response.chunks()
    try:
        while True:
            async with asyncio.timeout_at(deadline):
                chunk = await anext(chunks, b"")
            size += len(chunk)
            if not chunk or size > MAX_BODY:
                break
            yield chunk
    finally:
        response.close()
    if size > MAX_BODY:
        raise ClientError(f"the node's IMDS answered more than {MAX_BODY >> 20} MiB")


def _no_tls() -> ssl.SSLContext:
    raise AssertionError("the node's IMDS speaks http")
