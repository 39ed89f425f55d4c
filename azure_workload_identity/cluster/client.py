"""Requests to the API server.

By raw calls of the `kubernetes` package's asyncio client: its API classes would more than double the process.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Self

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config

from azure_workload_identity import __version__

# A busy API server answers within this; where it may take longer, `Limits` says so.
READ_SECONDS: Final = 2.0
MAX_CONNECTIONS: Final = 64
# One object: etcd stores at most 1.5 MiB, and JSON may take six bytes for one. So nothing is longer, in a watch either.
MAX_ANSWER: Final = 16 << 20
# The API server sends a bookmark each minute: a watch that is silent for longer has lost its connection.
SILENCE_SECONDS: Final = 90.0
JSON: Final = "application/json"
JSON_PATCH: Final = "application/json-patch+json"
_VERSION: Final = re.compile(rb'"gitVersion":\s*"v(\d{1,3})\.(\d{1,3})\.')

OK: Final = 200
CREATED: Final = 201
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
INVALID: Final = 422
UNAUTHORIZED: Final = 401
DENIED: Final = frozenset({UNAUTHORIZED, 403})

# A token file that cannot be read is a ConfigException.
_FAILURES: Final = (aiohttp.ClientError, ConfigException, OSError, TimeoutError)


class ClusterUnavailableError(Exception):
    """The API server did not answer; `kind` is the name of what went wrong."""

    def __init__(self, method: str, path: str, kind: str) -> None:
        super().__init__(f"the API server did not answer {method} {path}: {kind}")
        self.kind = kind


class AnswerTooLargeError(ClusterUnavailableError):
    """The answer has more bytes than were to be read."""

    def __init__(self, method: str, path: str) -> None:
        super().__init__(method, path, "the answer is too large")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and Date header of a response of the API server."""

    status: int
    body: bytes
    date: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most bytes that are read of an answer, and the most seconds that it may take."""

    size: int = MAX_ANSWER
    seconds: float = field(default_factory=lambda: READ_SECONDS)


def failure(answer: Answer, method: str, path: str, denied: Exception) -> Exception:
    """The error for an unsuccessful response: `denied` if a role is missing, which a retry does not fix."""
    return denied if answer.status in DENIED else ClusterUnavailableError(method, path, f"HTTP {answer.status}")


class Cluster:
    """A connection to one API server."""

    def __init__(self, configuration: Configuration, reload: Callable[[], None]) -> None:
        """Use a configuration, in which `reload` replaces a token that the API server does not accept any more."""
        configuration.connection_pool_maxsize = MAX_CONNECTIONS
        self._reload = reload
        self._host = configuration.host
        self._client = ApiClient(configuration)

    @classmethod
    async def connect(cls, kubeconfig: str) -> Self:
        """By kubeconfig (`--kubeconfig`, KUBECONFIG), else as a pod, else by ~/.kube/config; nothing is sent yet.

        Raises:
            ValueError: with a sentence when no configuration is found or it cannot be used.
        """
        try:
            return cls(*await _configuration(kubeconfig))
        except (ConfigException, OSError, TypeError, ValueError) as error:
            raise ValueError(
                f"no usable cluster configuration in {kubeconfig or '~/.kube/config'}: {error}; set --kubeconfig or "
                "KUBECONFIG, run in a pod with a ServiceAccount token, or give manifests with --service-accounts"
            ) from error

    async def get(self, path: str, accept: str = JSON, limits: Limits | None = None) -> Answer:
        """The response to a GET.

        Raises:
            AnswerTooLargeError: when it is larger than the limits say; the rest is not read.
            ClusterUnavailableError: when there is none in time.
        """
        return await self.request("GET", path, accept=accept, limits=limits)

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = JSON,
        accept: str = JSON,
        limits: Limits | None = None,
    ) -> Answer:
        """The response to one request; `body` is sent as JSON.

        Raises:
            AnswerTooLargeError, ClusterUnavailableError: as `get` does.
        """
        limits = limits or Limits()
        try:
            async with asyncio.timeout(limits.seconds):
                headers = await self._headers(method, path, accept)
                headers["Content-Type"] = content_type
                answer = await self._client.call_api(method, self._host + path, header_params=headers, body=body)
                if answer.status == UNAUTHORIZED and await self._has_new_token(headers, method, path):
                    answer.response.close()
                    answer = await self._client.call_api(method, self._host + path, header_params=headers, body=body)
                date = answer.response.headers.get("Date", "")
                content = await _read(answer.response, limits.size)
        except _FAILURES as error:
            raise ClusterUnavailableError(method, path, type(error).__name__) from error
        if content is None:
            raise AnswerTooLargeError(method, path)
        return Answer(answer.status, content, date)

    @asynccontextmanager
    async def lines(self, path: str, accept: str) -> AsyncIterator[tuple[int, AsyncIterator[bytes]]]:
        """Status and lines of a response that does not end soon.

        Raises:
            ClusterUnavailableError: also in the middle, when the connection ends badly or is silent for
                SILENCE_SECONDS.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=READ_SECONDS, sock_read=SILENCE_SECONDS)
        try:
            headers = await self._headers("GET", path, accept)
            answer = await self._client.call_api(
                "GET", self._host + path, header_params=headers, _request_timeout=timeout
            )
            if answer.status == UNAUTHORIZED:
                self._reload()  # for the next attempt
            async with answer.response as response:
                yield answer.status, _lines(response.content)
        except _FAILURES as error:
            raise ClusterUnavailableError("GET", path, type(error).__name__) from error

    async def version(self) -> tuple[int, int] | None:
        """The cluster's version as (major, minor), or None when it cannot be read."""
        try:
            answer = await self.get("/version")
        except ClusterUnavailableError:
            return None
        match = _VERSION.search(answer.body) if answer.status == OK else None
        return (int(match[1]), int(match[2])) if match else None

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _headers(self, method: str, path: str, accept: str) -> dict[str, Any]:
        # Compression costs more than it saves on the way to the API server.
        headers = {"Accept": accept, "Accept-Encoding": "identity", "User-Agent": f"azwi-webhook/{__version__}"}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        return headers

    async def _has_new_token(self, headers: dict[str, Any], method: str, path: str) -> bool:
        """Whether the token was replaced since it was read; the headers then have the new one.

        The client itself reads the file again a minute after the last time, by a clock that may have been stepped back.
        """
        before = dict(headers)
        self._reload()
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, None)
        return headers != before


def _keep_token() -> None:
    """Reload nothing: outside a pod a token stays as it was read."""


async def _configuration(kubeconfig: str) -> tuple[Configuration, Callable[[], None]]:
    """The configuration to connect by, and what reloads its token.

    Raises:
        ConfigException, OSError, TypeError, ValueError: none is found, or it cannot be used.
    """
    configuration = Configuration()
    if not kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
        reload = partial(load_incluster_config, client_configuration=configuration)
        reload()
        return configuration, reload
    # Here, since they would cost a pod a mebibyte.
    import yaml  # noqa: PLC0415  not in a pod
    from kubernetes.aio.config.kube_config import load_kube_config  # noqa: PLC0415  not in a pod

    try:
        await load_kube_config(config_file=kubeconfig or None, client_configuration=configuration)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    return configuration, _keep_token


async def _read(response: aiohttp.ClientResponse, most: int) -> bytes | None:
    """The body, None if it has more than `most` bytes."""
    chunks, size = [], 0
    async with response:
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                response.close()
                return None
    return b"".join(chunks)


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The lines of a stream; aiohttp's own bound, 128 KiB, is less than an object of a tenant may have."""
    parts: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            yield b"".join((*parts, chunk[start:end]))
            parts, size, start = [], 0, end + 1
        parts.append(chunk[start:])
        size += len(chunk) - start
        if size > MAX_ANSWER:
            raise aiohttp.ClientPayloadError("a line is too large")
    if size:
        yield b"".join(parts)
