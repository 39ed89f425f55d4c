"""The exchange of a ServiceAccount's token for one of Microsoft Entra, as the SDKs in a pod make it."""

# ruff: noqa: PLC0415  help texts do without httpx

import json
import os
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

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
class TokenProxy:
    """The token proxy of an identity binding: its https URL, the name in its certificate and its authorities.

    An empty `sni` means the URL's host, an empty `ca_file` the system's authorities.
    """

    url: str
    sni: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token request, without the assertion; with a token proxy it is sent there."""

    authority_host: str
    tenant_id: str
    client_id: str
    scope: str
    token_proxy: TokenProxy | None = None

    @property
    def host(self) -> str:
        """Where it is sent, without the tenant."""
        if self.token_proxy is None:
            return self.authority_host
        return self.token_proxy.url + urlsplit(self.authority_host).path.rstrip("/")

    @property
    def url(self) -> str:
        """The token endpoint."""
        return self.host + entra.token_path(self.tenant_id)


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
    name = {"sni_hostname": request.token_proxy.sni} if request.token_proxy and request.token_proxy.sni else {}
    try:
        with (
            httpx.Client(verify=_trust(request, environ), timeout=TIMEOUT_SECONDS, headers=HEADERS) as http,
            http.stream("POST", request.url, data=form, extensions=name) as answer,
        ):
            content = _bounded_body(answer.iter_bytes())
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise CommandError(f"no answer from {request.host}: {cause(error)}", _unreachable(request)) from error
    document = _decoded(content)
    if answer.status_code == _OK and isinstance(document, dict) and isinstance(document.get("access_token"), str):
        return document
    if answer.status_code == _OK:
        raise CommandError(f"{request.host} answered without a token", "check that it is Microsoft Entra")
    raise RefusedError(entra.refusal(answer.status_code, document))


def _trust(request: TokenRequest, environ: Mapping[str, str]) -> ssl.SSLContext:
    """The token proxy's own authorities, else the system's, or of the variable that Azure's other programs read."""
    ca_file = request.token_proxy.ca_file if request.token_proxy else ""
    try:
        return ssl.create_default_context(cafile=ca_file or environ.get("REQUESTS_CA_BUNDLE") or None)
    except (OSError, ssl.SSLError) as error:
        if not ca_file:
            raise CommandError(f"the certificates to trust cannot be read: {cause(error)}") from error
        raise CommandError(
            f"{ca_file} has no certificates to trust: {cause(error)}", "it is the token proxy's CA, in PEM"
        ) from error


def _unreachable(request: TokenRequest) -> str:
    if request.token_proxy is None:
        return "check that it can be reached from here (HTTPS_PROXY, SSL_CERT_FILE) and that --azure-env is right"
    return (
        "the token proxy is reached inside the cluster only: run it in a pod, or forward its port and give "
        "--token-proxy, --token-proxy-sni and --token-proxy-ca-file"
    )


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
