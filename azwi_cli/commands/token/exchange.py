"""The exchange of a ServiceAccount's token for one of Microsoft Entra, as the SDKs in a pod make it."""

# ruff: noqa: PLC0415  help texts do without httpx

import json
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from azure_workload_identity import __version__, entra, names
from azure_workload_identity.entra import Kind, Refusal
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.console.errors import CommandError, cause
from webhook.admission.identity import Account

# The least that the API server takes: the token is used at once.
TOKEN_SECONDS: Final = 600
TIMEOUT_SECONDS: Final = 20.0
MAX_TOKEN_FILE: Final = 64 << 10
HEADERS: Final = {"User-Agent": f"azwi/{__version__}"}
ASSERTION_CLAIMS: Final = (*entra.SUBJECT_CLAIMS, "iat", "exp")
MAX_ANSWER: Final = 256 << 10
_OK: Final = 200


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request, without the assertion."""

    authority_host: str
    tenant_id: str
    client_id: str
    scope: str

    @property
    def url(self) -> str:
        """The token endpoint."""
        return self.authority_host + entra.token_path(self.tenant_id)


@dataclass(frozen=True, slots=True)
class Assertion:
    """A ServiceAccount's token, which proves who the pod is."""

    token: str = field(repr=False)

    @property
    def claims(self) -> JsonObject:
        """What it says, unverified."""
        return entra.claims(self.token, ASSERTION_CLAIMS)


class RefusedError(CommandError):
    """Entra gave no token; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        reason = refusal.description or refusal.error or "no reason given"
        super().__init__(f"Entra refuses the exchange: {reason}", refusal.meaning.remedy)
        self.refusal = refusal

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a little later."""
        return self.refusal.meaning.kind is not Kind.PERMANENT


def exchange(request: TokenRequest, assertion: Assertion, environ: Mapping[str, str] = os.environ) -> JsonObject:
    """The token endpoint's answer; `access_token` in it is a secret.

    Raises:
        RefusedError: when Entra refuses.
        CommandError: when it does not answer, or not as Entra does.
    """
    import httpx

    form = entra.token_form(request.client_id, request.scope, assertion.token)
    # The variable that the Azure CLI and azure-core look at, besides OpenSSL's own.
    context = ssl.create_default_context(cafile=environ.get("REQUESTS_CA_BUNDLE") or None)
    try:
        with (
            httpx.Client(verify=context, timeout=TIMEOUT_SECONDS, headers=HEADERS) as http,
            http.stream("POST", request.url, data=form) as answer,
        ):
            content = _bounded_body(answer.iter_bytes())
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise CommandError(
            f"no answer from {request.authority_host}: {cause(error)}",
            "check that it can be reached from here (HTTPS_PROXY, SSL_CERT_FILE) and that --azure-env is right",
        ) from error
    document = _decoded(content)
    if answer.status_code == _OK and isinstance(document, dict) and isinstance(document.get("access_token"), str):
        return document
    if answer.status_code == _OK:
        raise CommandError(f"{request.authority_host} answered without a token", "check that it is Microsoft Entra")
    raise RefusedError(entra.refusal(answer.status_code, document))


def _bounded_body(chunks: Iterable[bytes]) -> bytes:
    """The body; what is beyond its bound is not waited for, and leaves no JSON."""
    body = b""
    for chunk in chunks:
        body += chunk
        if len(body) > MAX_ANSWER:
            return b""
    return body


def _decoded(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None


def from_cluster(cluster: Cluster, name: str, audience: str) -> tuple[Assertion, Account]:
    """A new token of a ServiceAccount, and the identity that its annotations name.

    Raises:
        CommandError: when there is no such ServiceAccount, or the cluster issues no token.
    """
    where = kube.path("v1", "serviceaccounts", cluster.namespace, name)
    account = Account.from_metadata(cluster.get(where)["metadata"])
    status = cluster.token(cluster.namespace, name, audience, TOKEN_SECONDS)
    return Assertion(str(status["token"])), account


def from_file(file: str) -> Assertion:
    """The token in a file, as the webhook mounts it.

    Raises:
        CommandError: when there is none.
    """
    try:
        with Path(file).open("rb") as opened:
            token = opened.read(MAX_TOKEN_FILE).decode("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise CommandError(f"cannot read a token from {file}: {why}", "it is what the webhook mounts") from error
    if not entra.claims(token, ASSERTION_CLAIMS):
        raise CommandError(f"{file} contains no token", f"{names.ENV_TOKEN_FILE} names the right one in a pod")
    return Assertion(token)
