"""The certificate Secret of v1.6.0, whose rotator takes over again after a rollback.

The rotator makes `ca.crt` of this Secret the caBundle as it is, and parses only the first certificate of it:
https://github.com/open-policy-agent/cert-controller/blob/v0.11.0/pkg/rotator/rotator.go. CAs after the first therefore
stay trusted while v1.6.0's servers replace those of this webhook.
"""

import asyncio
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Final

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
from azure_workload_identity.cluster.watch import Stored
from azure_workload_identity.types import JsonObject
from certs.errors import CertificateError
from certs.pem import certificates
from certs.secret_keys import CA

# A new CA signs nothing before it has been in the caBundle for that long, and v1.6.0 may fill its Secret at any time.
CHECK_SECONDS: Final = 10.0

log = logging.getLogger(__name__)


class UpstreamSecret:
    """The Secret of v1.6.0 in the server's namespace; its pair is never changed."""

    def __init__(self, cluster: Cluster, namespace: str, name: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self._path: Final = f"/api/v1/namespaces/{namespace}/secrets/{name}"

    async def prepare_rollback(self, trusted: Callable[[], bytes], *, seconds: float = CHECK_SECONDS) -> None:
        """Add what is trusted now, and again after each change, until cancelled."""
        last = ""
        while True:
            failure = ""
            try:
                await self.add_authorities(trusted())
            except (ClusterUnavailableError, CertificateError) as error:
                failure = str(error)
                if failure != last:
                    log.warning("after a rollback to v1.6.0 this server would not be trusted: %s", failure)
            last = failure
            await asyncio.sleep(seconds)

    async def add_authorities(self, trusted: bytes) -> None:
        """Make `ca.crt` hold v1.6.0's CA, then `trusted` (PEM), and nothing else.

        Nothing is written if v1.6.0 has never filled the Secret. After a conflict the caller tries again.

        Raises:
            ClusterUnavailableError: the API server does not answer, or not with a Secret.
            CertificateError: the API server forbids it.
        """
        answer = await self._cluster.get(self._path)
        if answer.status == NOT_FOUND:
            return
        if answer.status != OK:
            raise self._failed("GET", "get", answer)
        version, stored = self._decode(answer)
        own = certificates(stored)[:1]
        wanted = b"".join(pem + b"\n" for pem in own) + trusted
        if own and stored != wanted:
            await self._write(version, wanted)

    async def _write(self, version: str, content: bytes) -> None:
        operations: list[JsonObject] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": f"/data/{CA}", "value": b64encode(content).decode()},
        ]
        answer = await self._cluster.request("PATCH", self._path, operations, content_type=JSON_PATCH)
        if answer.status == OK:
            log.info("the CA was added to Secret %s of v1.6.0, for a rollback", self._name)
        elif answer.status not in {CONFLICT, INVALID, NOT_FOUND}:
            raise self._failed("PATCH", "patch", answer)

    def _decode(self, answer: Answer) -> tuple[str, bytes]:
        """The resourceVersion and `ca.crt`."""
        try:
            secret = msgspec.json.decode(answer.body, type=Stored)
            return secret.metadata.resourceVersion, b64decode((secret.data or {}).get(CA, ""), validate=True)
        except (ValueError, msgspec.MsgspecError) as error:
            raise ClusterUnavailableError("GET", self._path, "not a Secret") from error

    def _failed(self, method: str, verb: str, answer: Answer) -> Exception:
        forbidden = CertificateError(
            f"the API server does not let the webhook {method} Secret {self._namespace}/{self._name} "
            f"(HTTP {answer.status}): grant its ServiceAccount {verb} on it by resourceNames"
        )
        return failure(answer, method, self._path, forbidden)
