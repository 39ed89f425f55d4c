"""Events: what an administrator sees by `kubectl get events` in the server's namespace. Never required."""

import logging
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from azure_workload_identity.cluster.client import CREATED, Cluster, ClusterUnavailableError

COMPONENT: Final = "azwi-webhook"
MAX_NOTE: Final = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Subject:
    """The object in the server's namespace that an Event is about."""

    kind: str
    name: str


class Events:
    """Writes Events of one namespace.

    https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/ describes the older form of
    core/v1 too, which every client shows.
    """

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._path = f"/api/v1/namespaces/{namespace}/events"
        self._namespace = namespace
        self._instance = socket.gethostname()

    async def warn(self, subject: Subject, reason: str, note: str) -> None:
        """Write a warning; if that fails, log it at level debug and continue."""
        now = datetime.now(UTC)
        event = {
            "metadata": {"name": f"{subject.name}.{uuid4().hex[:16]}", "namespace": self._namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": subject.kind,
                "namespace": self._namespace,
                "name": subject.name,
            },
            "type": "Warning",
            "reason": reason,
            "message": note[:MAX_NOTE],
            "count": 1,
            "firstTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "lastTimestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source": {"component": COMPONENT, "host": self._instance},
        }
        try:
            answer = await self._cluster.request("POST", self._path, event)
        except ClusterUnavailableError as error:
            log.debug("no Event %s was written: %s", reason, error)
        else:
            if answer.status != CREATED:
                log.debug("no Event %s was written: HTTP %s", reason, answer.status)
