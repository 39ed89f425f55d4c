"""Requests and responses of the proxy's own HTTP side, as values."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

Headers: TypeAlias = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Request:
    """One request: the target as it came, header names in lower case, the body thrown away."""

    method: str
    target: str
    headers: Headers

    def header(self, name: str) -> str | None:
        """The value of the first header of a name (in lower case), None without one."""
        return next((value for own, value in self.headers if own == name), None)


@dataclass(frozen=True, slots=True)
class Response:
    """One response; a body that is a generator is sent piece by piece."""

    status: int
    body: bytes | AsyncGenerator[bytes]
    headers: Headers = ()


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
