"""The Secret that holds self-managed certificates."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

import orjson

from azure_workload_identity.cluster.client import (
    CONFLICT,
    CREATED,
    NOT_FOUND,
    OK,
    Answer,
    Cluster,
    ClusterUnavailableError,
    failure,
)
from azure_workload_identity.cluster.watch import ObjectMeta, Resource, SingleObjectHandler, Stored
from azure_workload_identity.types import JsonObject
from certs.errors import CertificateError
from certs.secret_keys import KEYS

LABELS: Final = {"app.kubernetes.io/name": "azure-workload-identity-webhook"}
# By these Helm knows the objects of a release; their values never change while the release exists.
OWNER_LABELS: Final = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/managed-by")
OWNER_ANNOTATIONS: Final = ("meta.helm.sh/release-name", "meta.helm.sh/release-namespace")
TLS_TYPE: Final = "kubernetes.io/tls"


@dataclass(frozen=True, slots=True)
class Content:
    """The Secret as read: the whole object (None if there is none), the decoded `KEYS`, the answer's Date header."""

    stored: JsonObject | None = field(repr=False)
    data: Mapping[str, bytes] = field(repr=False)
    date: str = ""


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
            ClusterUnavailableError: the API server does not answer, or not with a Secret.
            CertificateError: the API server forbids it, or the Secret belongs to another program.
        """
        answer = await self._cluster.get(f"{self.resource.path}/{self.name}")
        if answer.status == NOT_FOUND:
            return Content(None, {}, answer.date)
        if answer.status != OK:
            raise self._failed("GET", "get, list and watch", answer)
        try:
            stored = orjson.loads(answer.body)
            data = stored.get("data") or {}
            content = Content(
                stored, {key: b64decode(data[key], validate=True) for key in KEYS if data.get(key)}, answer.date
            )
        except (ValueError, TypeError, AttributeError) as error:
            raise ClusterUnavailableError("GET", f"{self.resource.path}/{self.name}", "not a Secret") from error
        if stored.get("type") == TLS_TYPE and content.data:
            raise self.foreign(f"its type is {TLS_TYPE}, so another program, such as cert-manager, keeps it")
        return content

    async def save(self, content: Content, data: Mapping[str, bytes], owner: ObjectMeta | None = None) -> bool:
        """Replace the `KEYS` of `content` by `data`; False if the Secret was changed since it was read.

        A new Secret is given the labels and annotations by which `owner` belongs to a Helm release: a later
        `helm upgrade` takes it as its own.

        Raises:
            ClusterUnavailableError: the API server does not answer; the write may have been carried out nevertheless.
            CertificateError: the API server forbids it.
        """
        values = {key: b64encode(value).decode() for key, value in data.items()}
        if content.stored is None:
            new = {"metadata": {"name": self.name, **_ownership(owner)}, "type": "Opaque", "data": values}
            answer = await self._cluster.request("POST", self.resource.path, new)
            if answer.status not in {OK, CREATED, CONFLICT, NOT_FOUND}:
                raise failure(answer, "POST", self.resource.path, self._missing())
        else:
            others = {key: value for key, value in (content.stored.get("data") or {}).items() if key not in KEYS}
            # It has the resourceVersion that was read, so the API server answers 409 if that is no longer the newest.
            changed = {**content.stored, "data": {**others, **values}}
            answer = await self._cluster.request("PUT", f"{self.resource.path}/{self.name}", changed)
        if answer.status in {CONFLICT, NOT_FOUND}:
            return False
        if answer.status not in {OK, CREATED}:
            raise self._failed("PUT", "update", answer)
        return True

    def foreign(self, reason: str) -> CertificateError:
        """The error for a Secret that another program keeps."""
        return CertificateError(
            f"Secret {self._namespace}/{self.name}: {reason}; give this webhook a Secret of its own (--cert-secret, "
            "in the chart certificates.secretName), or delete this one if no other program uses it: "
            f"kubectl -n {self._namespace} delete secret {self.name}"
        )

    def _missing(self) -> CertificateError:
        return CertificateError(
            f"Secret {self._namespace}/{self.name} does not exist, and the webhook may not create it: `helm upgrade` "
            "with the release's values does, or grant create on secrets (in the chart rbac.createSecret=true)"
        )

    def apply(self, item: Stored) -> None:  # noqa: ARG002  the signature of a WatchHandler; the content is read on demand
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


def _ownership(owner: ObjectMeta | None) -> JsonObject:
    labels, annotations = (owner.labels or {}, owner.annotations or {}) if owner else ({}, {})
    return {
        "labels": {**LABELS, **{key: labels[key] for key in OWNER_LABELS if key in labels}},
        "annotations": {key: annotations[key] for key in OWNER_ANNOTATIONS if key in annotations},
    }
