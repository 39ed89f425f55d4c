"""Follows objects: a paged list, then a watch from its version on, as long as the process lives.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

import asyncio
import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, Generic, Protocol, TypeVar
from urllib.parse import urlencode

import msgspec

from azure_workload_identity.cluster.client import (
    DENIED,
    GONE,
    JSON,
    MAX_ANSWER,
    OK,
    AnswerTooLargeError,
    Cluster,
    ClusterUnavailableError,
    Limits,
)
from azure_workload_identity.types import JsonObject

# A page of a list has so many objects, and fewer where they are so large that it would have more bytes.
PAGE: Final = 500
MAX_PAGE_BYTES: Final = 4 << 20
# No admission waits for a page, and one that is too late starts the whole list again: of many pages on a busy API
# server, one nearly always takes longer than an admission may wait.
PAGE_SECONDS: Final = 30.0
# More is not a cluster's but the answer of something that does not end.
MAX_OBJECTS: Final = 1_000_000
MAX_EMPTY_PAGES: Final = 10
# The API server ends a watch after this many seconds, a random part longer, so that not all restart at once.
WATCH_SECONDS: Final = 300
FIRST_WAIT: Final = 0.05
LONGEST_WAIT: Final = 10.0
# A watch that ran this long did not fail, whatever ended it.
HEALTHY_SECONDS: Final = 5.0

log = logging.getLogger(__name__)


class ObjectMeta(msgspec.Struct, frozen=True, gc=False):
    """The metadata that is read of an object."""

    name: str = ""  # a bookmark has none
    namespace: str = ""
    resourceVersion: str = ""  # noqa: N815  the API's name
    annotations: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class MetadataOnly(msgspec.Struct, frozen=True, gc=False):
    """A PartialObjectMetadata."""

    metadata: ObjectMeta


class WebhookConfiguration(msgspec.Struct, frozen=True):
    """A MutatingWebhookConfiguration; its webhooks stay raw, since only a part of each is changed."""

    metadata: ObjectMeta
    webhooks: list[JsonObject] = []


class Stored(msgspec.Struct, frozen=True):
    """A Secret or a ConfigMap; the values of a Secret are base64."""

    metadata: ObjectMeta
    data: dict[str, str] | None = None

    def __repr__(self) -> str:
        """Only the name: the data may be secret."""
        return f"Stored({self.metadata.namespace}/{self.metadata.name})"


T = TypeVar("T", bound=MetadataOnly | WebhookConfiguration | Stored)
T_contra = TypeVar("T_contra", bound=MetadataOnly | WebhookConfiguration | Stored, contravariant=True)


class WatchHandler(Protocol[T_contra]):
    """Follows the objects of a watch."""

    def apply(self, item: T_contra) -> None:
        """An object is there, new or changed."""
        ...

    def delete(self, namespace: str, name: str) -> None:
        """An object is gone."""
        ...

    def list_started(self) -> None:
        """A list begins: objects that are not applied before `list_finished` are gone."""
        ...

    def list_finished(self) -> None:
        """A list is complete."""
        ...


class SingleObjectHandler:
    """The list methods of a handler of one named object: there is nothing to gather.

    Where a list has no such object, the watch calls `delete`.
    """

    def list_started(self) -> None:
        """Gather nothing."""

    def list_finished(self) -> None:
        """Replace nothing."""


@dataclass(frozen=True, slots=True)
class Resource(Generic[T]):
    """The objects to watch: a kind's path, which of them, and how they are decoded.

    With a name the watch asks for that object alone, so that a role may name it (`resourceNames`).
    """

    path: str
    type: type[T]
    name: str = ""

    @property
    def title(self) -> str:
        """The name in log and metrics: the plural of its kind."""
        return self.path.rsplit("/", 1)[-1]

    def accept(self, kind: str) -> str:
        """The Accept header; for metadata the API server leaves everything else out."""
        return f"{JSON};as={kind};g=meta.k8s.io;v=v1" if self.type is MetadataOnly else JSON

    def url(self, **parameters: object) -> str:
        """The path with a query."""
        if self.name:
            parameters["fieldSelector"] = f"metadata.name={self.name}"
        return f"{self.path}?{urlencode({key: value for key, value in parameters.items() if value != ''})}"


class _ListMeta(msgspec.Struct, frozen=True):
    resourceVersion: str = ""  # noqa: N815  the API's name
    continue_: str = msgspec.field(default="", name="continue")


class _Page(msgspec.Struct, Generic[T], frozen=True):
    metadata: _ListMeta
    items: list[T]


class _Event(msgspec.Struct, frozen=True):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct, frozen=True):
    code: int = 0


class _ExpiredError(Exception):
    """The API server no longer has the changes since the last version; list again."""


class _FailedError(Exception):
    """A list or watch failed; `reason` is a word for the metrics."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Watch(Generic[T]):
    """Keeps a handler's objects equal to what the API server has, through disconnections, restarts and compactions.

    `on_restart` is called with the reason of each restart: expired, denied, unavailable, malformed, or a status.
    """

    def __init__(
        self, cluster: Cluster, resource: Resource[T], handler: WatchHandler[T], on_restart: Callable[[str, str], None]
    ) -> None:
        self._cluster = cluster
        self._resource = resource
        self._handler = handler
        self._on_restart = on_restart
        self._page = msgspec.json.Decoder(_Page[resource.type])  # type: ignore[name-defined]  # a type at run time
        self._item = msgspec.json.Decoder(resource.type)
        self._event = msgspec.json.Decoder(_Event)
        self._current: float | None = None
        self._page_size = PAGE
        self._version = ""

    @property
    def staleness(self) -> float | None:
        """Seconds since the handler last had all that the API server has, None before the first list is complete."""
        return None if self._current is None else monotonic() - self._current

    async def run(self) -> None:
        """Follow until cancelled."""
        wait = FIRST_WAIT
        while True:
            started = monotonic()
            reason = await self._follow()
            if reason:
                self._on_restart(self._resource.title, reason)
            if monotonic() - started > HEALTHY_SECONDS:
                wait = FIRST_WAIT
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311  spreads load, hides nothing
            wait = min(wait * 2, LONGEST_WAIT)

    async def _follow(self) -> str:
        """List and watch until something ends it; return the reason, empty when the watch ran its full time."""
        try:
            if not self._version:
                await self._list()
            await self._watch()
        except _ExpiredError:
            self._version = ""
            return "expired"
        except ClusterUnavailableError as error:
            # The watch continues from the last version.
            return self._failed("unavailable", error)
        except _FailedError as error:
            self._version = ""
            return self._failed(error.reason, error)
        except (msgspec.MsgspecError, ValueError) as error:
            self._version = ""
            return self._failed("malformed", error)
        return ""

    def _failed(self, reason: str, error: Exception) -> str:
        log.warning("watch of %s, trying again: %s", self._resource.title, error)
        return reason

    async def _list(self) -> None:
        """List everything, page by page; the version from which to watch is then known."""
        self._handler.list_started()
        token, found, empty = "", 0, 0
        while True:
            page = await self._read_page(token)
            for item in page.items:
                self._handler.apply(item)
            found += len(page.items)
            empty = 0 if page.items else empty + 1
            previous, token = token, page.metadata.continue_
            if not token:
                break
            if token == previous or found > MAX_OBJECTS or empty > MAX_EMPTY_PAGES:
                raise _FailedError("malformed", "the list does not end")
        if self._resource.name and not found:
            self._handler.delete("", self._resource.name)
        self._handler.list_finished()
        self._current = monotonic()
        self._version = page.metadata.resourceVersion

    async def _read_page(self, token: str) -> "_Page[T]":
        """The next page, of fewer objects where they are large; pages of small ones grow again."""
        accept = self._resource.accept("PartialObjectMetadataList")
        while True:
            size, alone = self._page_size, self._page_size == 1
            url = self._resource.url(limit=size, **{"continue": token})
            try:
                limits = Limits(MAX_ANSWER if alone else MAX_PAGE_BYTES, PAGE_SECONDS)
                answer = await self._cluster.get(url, accept, limits)
            except AnswerTooLargeError:
                if alone:
                    raise
                self._page_size = max(1, size // 4)
                continue
            self._check(answer.status, answer.body)
            self._page_size = min(PAGE, size * 2)
            return self._page.decode(answer.body)

    async def _watch(self) -> None:
        """Apply events until the API server ends the watch."""
        url = self._resource.url(
            watch=1,
            allowWatchBookmarks="true",
            resourceVersion=self._version,
            timeoutSeconds=WATCH_SECONDS + random.randrange(WATCH_SECONDS),  # noqa: S311  as above
        )
        async with self._cluster.lines(url, self._resource.accept("PartialObjectMetadata")) as (status, lines):
            self._check(status, b"")
            self._current = monotonic()
            async for line in lines:
                self._apply(self._event.decode(line))
                self._current = monotonic()

    def _apply(self, event: "_Event") -> None:
        if event.type == "ERROR":
            self._check(msgspec.json.decode(event.object, type=_Status).code, bytes(event.object))
        item = self._item.decode(event.object)
        if event.type == "DELETED":
            self._handler.delete(item.metadata.namespace, item.metadata.name)
        elif event.type != "BOOKMARK":
            self._handler.apply(item)
        self._version = item.metadata.resourceVersion

    def _check(self, status: int, body: bytes) -> None:
        if status == GONE:
            raise _ExpiredError
        if status in DENIED:
            raise _FailedError("denied", f"HTTP {status}; grant get, list and watch on {self._resource.title}")
        if status != OK:
            raise _FailedError(str(status), f"HTTP {status} {body[:200].decode(errors='replace')}")
