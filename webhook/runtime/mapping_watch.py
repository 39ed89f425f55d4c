"""Watches the ConfigMap that holds the identity mapping."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import msgspec

from azure_workload_identity.cluster.client import NOT_FOUND, OK, Answer, Cluster, ClusterUnavailableError, failure
from azure_workload_identity.cluster.events import Events, Subject
from azure_workload_identity.cluster.retry import retry
from azure_workload_identity.cluster.watch import Resource, SingleObjectHandler, Stored
from webhook.admission.identity import IdentityMapping
from webhook.config.identity_mapping import ParsedMapping, parse_configmap

MAX_SHOWN: Final = 5

log = logging.getLogger(__name__)


def _decoded(answer: Answer, path: str) -> Stored:
    """The ConfigMap in an answer; an answer that is not one is retried like none at all."""
    try:
        return msgspec.json.decode(answer.body, type=Stored)
    except msgspec.MsgspecError as error:
        raise ClusterUnavailableError("GET", path, "the answer is not a ConfigMap") from error


class MappingError(ValueError):
    """The ConfigMap cannot be read; the message says what to grant."""


class MappingWatch(SingleObjectHandler):
    """Applies each change of the ConfigMap. Faulty entries are reported, the others are used.

    A document that is not a mapping leaves the previous one in force. `on_mapping` is called with each new mapping,
    `on_count` with the number of entries and of faults.
    """

    def __init__(
        self,
        cluster: Cluster,
        events: Events,
        place: tuple[str, str],
        on_mapping: Callable[[IdentityMapping], None],
        on_count: Callable[[int, int], None],
    ) -> None:
        namespace, name = place
        self._cluster = cluster
        self._events = events
        self._on_mapping = on_mapping
        self._on_count = on_count
        self._entries = 0
        self._present = False
        self._reports: set[asyncio.Task[None]] = set()
        self.resource = Resource(f"/api/v1/namespaces/{namespace}/configmaps", Stored, name)

    async def load(self) -> None:
        """Read the mapping before the first admission, waiting for the API server if need be.

        Raises:
            MappingError: when a role is missing.
        """
        await retry(self._load, MappingError)

    async def _load(self) -> None:
        answer = await self._cluster.get(f"{self.resource.path}/{self.resource.name}")
        if answer.status == NOT_FOUND:
            self._use_none()
        elif answer.status == OK:
            self.apply(_decoded(answer, self.resource.path))
        else:
            denied = MappingError(
                f"the API server does not let the webhook read ConfigMap {self.resource.name} (HTTP {answer.status}): "
                "grant its ServiceAccount get, list and watch on it by resourceNames"
            )
            raise failure(answer, "GET", self.resource.path, denied)

    def apply(self, item: Stored) -> None:
        """The ConfigMap is there, new or changed."""
        self._present = True
        try:
            parsed = parse_configmap(item.data)
        except ValueError as error:
            self._on_count(self._entries, 1)
            self._report((f"{error}; the mapping before it stays in force",))
            return
        self._use(parsed)

    def delete(self, namespace: str, name: str) -> None:  # noqa: ARG002  a WatchHandler's
        """The ConfigMap is not there."""
        if self._present:
            self._present = False
            self._use_none()

    def _use(self, parsed: ParsedMapping) -> None:
        self._entries = len(parsed.entries)
        self._on_mapping(IdentityMapping(parsed.entries))
        self._on_count(self._entries, len(parsed.faults))
        log.info("identity mapping: %d entries", self._entries, extra={"fields": {"faults": len(parsed.faults)}})
        if parsed.faults:
            self._report(parsed.faults)

    def _use_none(self) -> None:
        self._use(ParsedMapping())
        log.warning("there is no ConfigMap %s, so there is no identity mapping", self.resource.name)

    def _report(self, faults: tuple[str, ...]) -> None:
        for fault in faults[:MAX_SHOWN]:
            log.warning("identity mapping in ConfigMap %s: %s", self.resource.name, fault)
        note = "; ".join(faults[:MAX_SHOWN]) + (f"; and {len(faults) - MAX_SHOWN} more" * (len(faults) > MAX_SHOWN))
        report = asyncio.create_task(
            self._events.warn(Subject("ConfigMap", self.resource.name), "InvalidIdentityMapping", note)
        )
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)
