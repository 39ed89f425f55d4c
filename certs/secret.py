"""The Secret that holds self-managed certificates."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from azure_workload_identity.cluster.client import CONFLICT, CREATED, NOT_FOUND, OK, Answer, Cluster, failure
from azure_workload_identity.cluster.watch import Resource, SingleObjectHandler, Stored
from certs.secret_keys import KEYS
from certs.source import CertificateError

LABELS: Final = {"app.kubernetes.io/name": "azure-workload-identity-webhook"}


@dataclass(frozen=True, slots=True)
class Content:
    """The Secret as read: the whole object (None if there is none) and the decoded values of `KEYS`."""

    stored: Mapping[str, Any] | None = field(repr=False)
    data: Mapping[str, bytes] = field(repr=False)


class CertSecret(SingleObjectHandler):
    """One Secret, written by compare-and-swap; `changed` is called on every change that the watch reports."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, changed: Callable[[], None]) -> None:
        self._cluster = cluster
        self._changed = changed
        self._namespace = namespace
        self.resource = Resource(f"/api/v1/namespaces/{namespace}/secrets", Stored, name)

    @property
    def name(self) -> str:
        """The Secret's name."""
        return self.resource.name

    async def load(self) -> Content:
        """Read the Secret.

        Raises:
            ClusterUnavailableError: the API server does not answer.
            CertificateError: the API server forbids it.
        """
        answer = await self._cluster.get(f"{self.resource.path}/{self.name}")
        if answer.status == NOT_FOUND:
            return Content(None, {})
        if answer.status != OK:
            raise self._failed("GET", "get, list and watch", answer)
        stored = orjson.loads(answer.body)
        data = stored.get("data") or {}
        return Content(stored, {key: b64decode(data[key]) for key in KEYS if data.get(key)})

    async def save(self, content: Content, data: Mapping[str, bytes]) -> bool:
        """Replace the `KEYS` of `content` by `data`; False if the Secret was changed since it was read.

        Raises:
            ClusterUnavailableError: the API server does not answer; the write may have been carried out nevertheless.
            CertificateError: the API server forbids it.
        """
        values = {key: b64encode(value).decode() for key, value in data.items()}
        if content.stored is None:
            new = {"metadata": {"name": self.name, "labels": LABELS}, "type": "Opaque", "data": values}
            answer = await self._cluster.request("POST", self.resource.path, new)
        else:
            others = {key: value for key, value in (content.stored.get("data") or {}).items() if key not in KEYS}
            # It has the resourceVersion that was read, so the API server answers 409 if that is no longer the newest.
            changed = {**content.stored, "data": {**others, **values}}
            answer = await self._cluster.request("PUT", f"{self.resource.path}/{self.name}", changed)
        if answer.status in {CONFLICT, NOT_FOUND}:
            return False
        if answer.status not in {OK, CREATED}:
            raise self._failed("PUT", "update (and create on secrets)", answer)
        return True

    def apply(self, item: Stored) -> None:  # noqa: ARG002  the signature of a WatchHandler; the content is read when it is needed
        """The watch reports it as added or modified."""
        self._changed()

    def delete(self, namespace: str, name: str) -> None:  # noqa: ARG002  the signature of a WatchHandler
        """The watch reports it as deleted."""
        self._changed()

    def _failed(self, method: str, verbs: str, answer: Answer) -> Exception:
        forbidden = CertificateError(
            f"the API server does not let the webhook {method} Secret {self._namespace}/{self.name} "
            f"(HTTP {answer.status}): grant its ServiceAccount {verbs} on it by resourceNames"
        )
        return failure(answer, method, f"{self.resource.path}/{self.name}", forbidden)
