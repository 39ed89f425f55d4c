"""The caBundle of our webhook configurations: kept where the server makes its certificates, watched in any case.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#contacting-the-webhook
"""

import logging
import re
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
    failure,
)
from azure_workload_identity.cluster.watch import Resource, SingleObjectHandler, WebhookConfiguration
from azure_workload_identity.types import JsonObject
from certs.handshake import complaint
from certs.source import CertificateError

PATH: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
# How long a rolling upgrade from other certificates may take: until then their replicas stay trusted.
FORMER_SECONDS: Final = 3600.0
MAX_FORMER: Final = 8
_PEM: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=]+-----END CERTIFICATE-----")

log = logging.getLogger(__name__)


class Carried(Enum):
    """What was found where a caBundle was to be."""

    ALREADY = "already"
    PATCHED = "patched"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class Entry:
    """How one webhook of a configuration is called: host, and the CAs (PEM) that the API server trusts for it."""

    host: str
    bundle: bytes


class CaBundle(SingleObjectHandler):
    """One MutatingWebhookConfiguration, as it was last seen; `changed` hears of each change, `patched` of ours.

    What it trusted when it was first seen stays trusted for FORMER_SECONDS, or until somebody takes it out: a server
    that is new here may be replacing others, whose certificates are not of its making.
    """

    def __init__(self, cluster: Cluster, name: str, changed: Callable[[], None], patched: Callable[[], None]) -> None:
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
    def entries(self) -> tuple[Entry, ...] | None:
        """How its webhooks are called; None where there is no such configuration."""
        return None if self._configuration is None else tuple(_entries(self._configuration))

    def complaint(self, server: ssl.SSLContext) -> str:
        """Why the API server could not call `server` by this configuration; empty where it could."""
        if self.entries is None:
            return f"MutatingWebhookConfiguration {self.name} is not there"
        said = (complaint(server, entry.bundle, entry.host) for entry in self.entries)
        return next((f"MutatingWebhookConfiguration {self.name}: {each}" for each in said if each), "")

    async def load(self) -> None:
        """Look now, without waiting for the watch.

        Raises:
            ClusterUnavailableError: when the API server does not answer.
            CertificateError: when it does not let us.
        """
        answer = await self._cluster.get(f"{PATH}/{self.name}")
        if answer.status == NOT_FOUND:
            self._configuration = None
        elif answer.status == OK:
            self._configuration = msgspec.json.decode(answer.body, type=WebhookConfiguration)
        else:
            raise self._failed("GET", "get, list and watch", answer)

    async def carry(self, trusted: bytes) -> Carried:
        """Have every webhook of the configuration trust `trusted` (PEM), what it trusted formerly, and nothing else.

        Raises:
            ClusterUnavailableError: when the API server does not answer.
            CertificateError: when it does not let us.
        """
        await self.load()
        configuration = self._configuration
        if configuration is None:
            return Carried.MISSING
        entries = tuple(_entries(configuration))
        bundle = trusted + self._kept(trusted, entries)
        different = [number for number, entry in enumerate(entries) if entry.bundle != bundle]
        if not different:
            return Carried.ALREADY
        value = b64encode(bundle).decode()
        # The first operation makes it a compare-and-swap: whoever was faster, we look again.
        operations: list[JsonObject] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": configuration.metadata.resourceVersion},
            *(
                {"op": "add", "path": f"/webhooks/{number}/clientConfig/caBundle", "value": value}
                for number in different
            ),
        ]
        answer = await self._cluster.request("PATCH", f"{PATH}/{self.name}", operations, content_type=JSON_PATCH)
        if answer.status in {CONFLICT, INVALID, NOT_FOUND}:
            return Carried.MISSING
        if answer.status != OK:
            raise self._failed("PATCH", "patch", answer)
        self._configuration = msgspec.json.decode(answer.body, type=WebhookConfiguration)
        self._patched()
        log.info("the caBundle of MutatingWebhookConfiguration %s was written", self.name)
        return Carried.PATCHED

    def _kept(self, trusted: bytes, entries: Iterable[Entry]) -> bytes:
        """What was trusted at first, still is, and is not in `trusted` anyway (PEM)."""
        found = b"\n".join(entry.bundle for entry in entries)
        if self._former is None:
            self._former, self._former_until = _authorities(found)[:MAX_FORMER], monotonic() + FORMER_SECONDS
        over = monotonic() > self._former_until
        # What another replica took out is gone for all, or they would write in turns.
        self._former = () if over else tuple(each for each in self._former if each in found and each not in trusted)
        return b"".join(each + b"\n" for each in self._former)

    def apply(self, item: WebhookConfiguration) -> None:
        """The watch saw it, new or changed."""
        self._configuration = item
        self._changed()

    def delete(self, namespace: str, name: str) -> None:  # noqa: ARG002  a WatchHandler's
        """The watch saw it go."""
        self._configuration = None
        self._changed()

    def _failed(self, method: str, verbs: str, answer: Answer) -> Exception:
        denied = CertificateError(
            f"the API server does not let the webhook {method} MutatingWebhookConfiguration {self.name} "
            f"(HTTP {answer.status}): grant its ServiceAccount {verbs} on it by resourceNames"
        )
        return failure(answer, method, f"{PATH}/{self.name}", denied)


def _entries(configuration: WebhookConfiguration) -> Iterator[Entry]:
    for webhook in configuration.webhooks:
        client = webhook.get("clientConfig", {})
        service = client.get("service")
        host = f"{service['name']}.{service['namespace']}.svc" if service else urlsplit(client.get("url", "")).hostname
        yield Entry(host or "", b64decode(client.get("caBundle") or ""))


def _authorities(bundle: bytes) -> tuple[bytes, ...]:
    """The certificates (PEM) in a bundle, each once; what is none is left out."""
    return tuple(each for each in dict.fromkeys(_PEM.findall(bundle)) if _is_certificate(each))


def _is_certificate(pem: bytes) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem.decode())
    except (ssl.SSLError, ValueError):
        return False
    return True
