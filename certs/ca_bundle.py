"""The caBundle of the webhook configurations: written if certificates are self-managed, watched in any case.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#contacting-the-webhook
"""

import logging
import ssl
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from time import monotonic
from typing import Final
from urllib.parse import urlsplit

import msgspec

from azure_workload_identity.cluster.client import (
    CONFLICT,
    INVALID,
    JSON_PATCH,
    NOT_FOUND,
    OK,
    Answer,
    Cluster,
    ClusterUnavailableError,
    failure,
)
from azure_workload_identity.cluster.watch import ObjectMeta, Resource, SingleObjectHandler, WebhookConfiguration
from azure_workload_identity.types import JsonObject
from certs.api_clock import ApiClock
from certs.errors import CertificateError
from certs.handshake import verification_error
from certs.pem import certificates

PATH: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
# How long a rolling upgrade from another kind of certificate may take: its replicas stay trusted meanwhile.
FORMER_SECONDS: Final = 3600.0
MAX_FORMER: Final = 8

log = logging.getLogger(__name__)


class SyncResult(Enum):
    """What `CaBundle.ensure_trusted` found or did."""

    UNCHANGED = "unchanged"
    PATCHED = "patched"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class WebhookClient:
    """How the API server calls one webhook of a configuration: the host, and the CAs (PEM) that it trusts for it."""

    host: str
    bundle: bytes


class CaBundle(SingleObjectHandler):
    """One MutatingWebhookConfiguration as last seen; `changed` is called on every change, `patched` on our own.

    CAs that it trusted when it was first seen stay trusted for FORMER_SECONDS, or until someone removes them: this
    server may be replacing others that serve certificates of those CAs.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        changed: Callable[[], None],
        patched: Callable[[], None],
        clock: ApiClock | None = None,
    ) -> None:
        self._clock = clock or ApiClock()
        self._cluster = cluster
        self._changed = changed
        self._patched = patched
        self._configuration: WebhookConfiguration | None = None
        self._former: tuple[bytes, ...] | None = None
        self._former_until = 0.0
        self.resource = Resource(PATH, WebhookConfiguration, name)

    @property
    def name(self) -> str:
        """The configuration's name."""
        return self.resource.name

    @property
    def entries(self) -> tuple[WebhookClient, ...] | None:
        """Its webhooks; None if the configuration does not exist."""
        return None if self._configuration is None else tuple(_entries(self._configuration))

    def unready_reason(self, server: ssl.SSLContext) -> str:
        """Why the API server cannot call `server` with this configuration; empty if it can."""
        if self.entries is None:
            return f"MutatingWebhookConfiguration {self.name} is not there"
        check_time = not self._clock.deviates()
        errors = (verification_error(server, entry.bundle, entry.host, check_time=check_time) for entry in self.entries)
        return next((f"MutatingWebhookConfiguration {self.name}: {error}" for error in errors if error), "")

    @property
    def metadata(self) -> ObjectMeta | None:
        """The configuration's metadata; None if it does not exist."""
        return None if self._configuration is None else self._configuration.metadata

    async def load(self) -> None:
        """Read it now, without waiting for the watch.

        Raises:
            ClusterUnavailableError: the API server does not answer.
            CertificateError: the API server forbids it.
        """
        answer = await self._cluster.get(f"{PATH}/{self.name}")
        if answer.status == NOT_FOUND:
            self._configuration = None
        elif answer.status == OK:
            self._configuration = self._decode(answer, "GET")
        else:
            raise self._failed("GET", "get, list and watch", answer)

    async def check_writable(self) -> bool:
        """Check by a dry run that the caBundle may be written; whether the configuration exists.

        Raises:
            ClusterUnavailableError: the API server does not answer.
            CertificateError: the API server forbids it.
        """
        unchanged = [{"op": "test", "path": "/metadata/name", "value": self.name}]
        path = f"{PATH}/{self.name}?dryRun=All"
        answer = await self._cluster.request("PATCH", path, unchanged, content_type=JSON_PATCH)
        if answer.status == NOT_FOUND:
            self._configuration = None
        elif answer.status == OK:
            self._configuration = self._decode(answer, "PATCH")
        else:
            raise self._failed("PATCH", "patch", answer)
        return self._configuration is not None

    async def ensure_trusted(self, trusted: bytes) -> SyncResult:
        """Make every webhook's caBundle hold `trusted` (PEM) and the former CAs, and nothing else.

        Raises:
            ClusterUnavailableError: the API server does not answer.
            CertificateError: the API server forbids it.
        """
        await self.load()
        configuration = self._configuration
        if configuration is None:
            return SyncResult.MISSING
        entries = tuple(_entries(configuration))
        bundle = trusted + self._former_authorities(trusted, entries)
        different = [number for number, entry in enumerate(entries) if entry.bundle != bundle]
        if not different:
            return SyncResult.UNCHANGED
        value = b64encode(bundle).decode()
        # The first operation makes the patch a compare-and-swap; after a conflict the caller reads again.
        operations: list[JsonObject] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": configuration.metadata.resourceVersion},
            *(
                {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": value}
                for number in different
            ),
        ]
        answer = await self._cluster.request("PATCH", f"{PATH}/{self.name}", operations, content_type=JSON_PATCH)
        if answer.status in {CONFLICT, INVALID, NOT_FOUND}:
            return SyncResult.MISSING
        if answer.status != OK:
            raise self._failed("PATCH", "patch", answer)
        self._configuration = self._decode(answer, "PATCH")
        self._patched()
        log.info("the caBundle of MutatingWebhookConfiguration %s was written", self.name)
        return SyncResult.PATCHED

    def _former_authorities(self, trusted: bytes, entries: Iterable[WebhookClient]) -> bytes:
        """CAs (PEM) that were trusted at first, still are, and are not part of `trusted`."""
        found = b"\n".join(entry.bundle for entry in entries)
        if self._former is None:
            self._former, self._former_until = certificates(found)[:MAX_FORMER], monotonic() + FORMER_SECONDS
        expired = monotonic() > self._former_until
        # A CA that another replica removed stays removed, or the replicas would undo each other's writes.
        self._former = () if expired else tuple(pem for pem in self._former if pem in found and pem not in trusted)
        return b"".join(pem + b"\n" for pem in self._former)

    def apply(self, item: WebhookConfiguration) -> None:
        """The watch reports it as added or modified."""
        self._configuration = item
        self._changed()

    def delete(self, namespace: str, name: str) -> None:  # noqa: ARG002  the signature of a WatchHandler
        """The watch reports it as deleted."""
        self._configuration = None
        self._changed()

    def _decode(self, answer: Answer, method: str) -> WebhookConfiguration:
        try:
            return msgspec.json.decode(answer.body, type=WebhookConfiguration)
        except (ValueError, msgspec.MsgspecError) as error:
            raise ClusterUnavailableError(method, f"{PATH}/{self.name}", "not a webhook configuration") from error

    def _failed(self, method: str, verbs: str, answer: Answer) -> Exception:
        forbidden = CertificateError(
            f"the API server does not let the webhook {method} MutatingWebhookConfiguration {self.name} "
            f"(HTTP {answer.status}): grant its ServiceAccount {verbs} on it by resourceNames"
        )
        return failure(answer, method, f"{PATH}/{self.name}", forbidden)


def _entries(configuration: WebhookConfiguration) -> Iterator[WebhookClient]:
    for webhook in configuration.webhooks:
        client = webhook.get("clientConfig", {})
        service = client.get("service")
        host = f"{service['name']}.{service['namespace']}.svc" if service else urlsplit(client.get("url", "")).hostname
        yield WebhookClient(host or "", b64decode(client.get("caBundle") or ""))
