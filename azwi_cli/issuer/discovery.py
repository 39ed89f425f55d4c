"""A ServiceAccount issuer and the two documents by which others check its tokens (OpenID Connect Discovery 1.0)."""

# ruff: noqa: PLC0415  documents are made without urllib3

import json
from collections.abc import Collection, Iterable, Iterator
from typing import Final
from urllib.parse import urlsplit

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError, cause

CONFIGURATION_PATH: Final = "/.well-known/openid-configuration"
JWKS_PATH: Final = "/openid/v1/jwks"
# The longest issuer that a federated credential accepts.
MAX_LENGTH: Final = 600
MAX_DOCUMENT: Final = 1 << 20
TIMEOUT_SECONDS: Final = 10.0
_OK: Final = 200


def checked(issuer: str) -> str:
    """The issuer, unchanged: Entra compares it byte for byte.

    Raises:
        CommandError: when it cannot be an issuer.
    """
    try:
        parts = urlsplit(issuer)
        good = parts.scheme == "https" and parts.hostname and not (parts.username or parts.query or parts.fragment)
    except ValueError:
        good = False
    if not good or len(issuer) > MAX_LENGTH or not issuer.isascii() or any(map(str.isspace, issuer)):
        raise CommandError(
            f"{issuer!a} cannot be an issuer",
            "give the https URL that is --service-account-issuer of the API server, without query or fragment",
        )
    return issuer


def configuration_url(issuer: str) -> str:
    """Where the discovery document is."""
    return issuer.rstrip("/") + CONFIGURATION_PATH


def jwks_url(issuer: str) -> str:
    """Where this project puts the JWKS, as kube-apiserver does."""
    return issuer.rstrip("/") + JWKS_PATH


def configuration(issuer: str, algorithms: Iterable[str]) -> JsonObject:
    """The discovery document, with the members and the order of kube-apiserver's."""
    return {
        "issuer": issuer,
        "jwks_uri": jwks_url(issuer),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": sorted(set(algorithms)),
    }


def faults(issuer: str, wanted: Collection[str] = ()) -> Iterator[str]:
    """Problems with the published documents of an issuer; `wanted` are the kids that must be there."""
    try:
        found = fetch(configuration_url(issuer))
        if found.get("issuer") != issuer:
            yield f"the discovery document names the issuer {found.get('issuer')!a}, not {issuer!a}: every byte counts"
        uri = found.get("jwks_uri")
        if not isinstance(uri, str) or not uri.startswith("https://"):
            yield f"jwks_uri {uri!a} is not an https URL"
            return
        keys = fetch(uri).get("keys")
    except CommandError as error:
        yield error.message
        return
    published = [key.get("kid") for key in keys if isinstance(key, dict)] if isinstance(keys, list) else []
    if not published:
        yield f"{uri} has no keys"
    for kid in wanted:
        if kid not in published:
            yield f"key {kid} is not published at {uri}: tokens signed with it are refused"


def fetch(url: str) -> JsonObject:
    """Fetch a JSON document over the internet, as Entra does.

    Raises:
        CommandError: when there is no response, it is an error, or it is not JSON.
    """
    import urllib3

    try:
        answer = urllib3.request(
            "GET",
            url,
            headers={"User-Agent": f"azwi/{__version__}", "Accept": "application/json, */*"},
            retries=urllib3.Retry(connect=1, redirect=3),
            timeout=TIMEOUT_SECONDS,
            preload_content=False,
        )
        body = answer.read(MAX_DOCUMENT + 1)
    except (OSError, urllib3.exceptions.HTTPError) as error:
        raise CommandError(f"{url} does not answer: {cause(error)}", "Entra must reach it from the internet") from error
    if answer.status != _OK:
        raise CommandError(f"{url} answers with HTTP {answer.status}", "publish the document there")
    try:
        document = json.loads(body[:MAX_DOCUMENT])
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandError(f"{url} is not a JSON object", "azwi oidc publish puts both documents there")
    return document
