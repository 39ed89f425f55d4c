"""Requests and responses of the proxy's own HTTP server, as values."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]
# Statuses of responses without a body, and so without a length or chunks: RFC 9112, 6.3.
BODILESS: Final = frozenset({204, 304})


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the target as it was sent, header names in lower case; the body is discarded."""

    method: str
    target: str
    headers: Headers

    def header(self, name: str) -> str | None:
        """The value of the first header with a name (in lower case), None without one."""
        for header, value in self.headers:
            if header == name:
                return value
        return None


@dataclass(frozen=True, slots=True)
class Response:
    """One response; a body that is a generator is sent chunk by chunk."""

    status: int
    body: bytes | AsyncGenerator[bytes]
    headers: Headers = ()


# Returns the response, or an awaitable of it where something has to be waited for: a task costs as much as all else.
Handler: TypeAlias = Callable[[Request], Response | Awaitable[Response]]
