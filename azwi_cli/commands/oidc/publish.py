"""`azwi oidc publish`: puts both documents where Entra reads them, beside the keys that are there already."""

# ruff: noqa: PLC0415  help texts and completion do without Azure's libraries

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click

from azure_workload_identity.types import JsonObject
from azwi_cli.azure import options as azure_options
from azwi_cli.azure.options import LOGIN, LOGIN_CLOUD, Params, with_options
from azwi_cli.cluster.kube import ClusterTarget
from azwi_cli.commands.oidc import options
from azwi_cli.commands.oidc.documents import Documents, documents, issuer
from azwi_cli.console import output
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.issuer import discovery, keys, publication, sources
from azwi_cli.issuer.keys import Key
from azwi_cli.issuer.sources import Sources

if TYPE_CHECKING:
    from azwi_cli.commands.oidc.destinations import Destination

PUBLISHED: Final = "published before"
# The JWKS first: a discovery document never names one that is not there.
ORDER: Final = (discovery.JWKS_PATH, discovery.CONFIGURATION_PATH)
DEFAULT_CONTAINER: Final = "$web"


@click.command("publish")
@options.issuer_url
@sources.options
@click.option("--account-url", default="", metavar="URL", help="Publish in this storage account, by its blob endpoint.")
@click.option(
    "--container",
    default=DEFAULT_CONTAINER,
    show_default=True,
    metavar="NAME",
    help="In this container; the default is what a static site serves.",
)
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Publish in this directory, which something else serves.",
)
@click.option(
    "--check/--no-check",
    default=None,
    help="Read both documents at the issuer's URL afterwards, as Entra does; default: with --account-url.",
)
@click.option("--dry-run", is_flag=True, help="Change nothing; print what would be written.")
@output.option
@with_options(LOGIN_CLOUD, LOGIN)
def command(**given: Any) -> None:  # noqa: ANN401  click's
    """Publish the documents of a self-managed issuer in Azure Storage or in a directory.

    \b
    azwi oidc publish --from-cluster --account-url https://shopoidc.blob.core.windows.net
    azwi oidc publish --from-cluster --directory site

    Keys that are published there stay, so that tokens signed with them remain valid; only --drop removes one. Nothing
    but public keys is published.
    """  # noqa: D301  click reads the mark as: do not wrap
    chosen = Sources(
        **{name: given[name] for name in ("public_keys", "keep", "from_cluster", "drop")},
        target=ClusterTarget(given["kubeconfig"], given["context"]),
    )
    if bool(given["account_url"]) == bool(given["directory"]):
        raise click.UsageError("give --account-url or --directory, one of both")
    plan = Plan() if given["dry_run"] else None
    url = issuer(given["issuer_url"], chosen)
    with _destination(given, url, plan) as destination:
        with output.progress("publishing"):
            result = _publish(destination, url, chosen)
        wanted = destination.served if given["check"] is None else given["check"]
    problems = _read_back(result.documents) if wanted and plan is None else None
    output.write(_document(result, problems, plan), given["output_format"], lambda: _text(result, problems, plan))
    sources.warn(result.keys)
    _note(result)
    if problems:
        raise CommandError(
            "; ".join(problems),
            f"check that {url} serves {result.places[discovery.JWKS_PATH]}; something in between may keep the former "
            "documents for a while: azwi oidc --check reads them again",
        )


@dataclass(frozen=True, slots=True)
class Result:
    """What was published where: by path, whether it was written; the keys with their origins; kids that are new."""

    issuer: str
    documents: Documents
    places: dict[str, str]
    written: dict[str, str]
    keys: Sequence[tuple[Key, str]]
    new: Sequence[str]
    first: bool


@contextmanager
def _destination(given: Params, url: str, plan: Plan | None) -> "Iterator[Destination]":
    from azwi_cli.commands.oidc.destinations import Directory, Site

    if given["directory"]:
        yield Directory(given["directory"], plan)
        return
    from azwi_cli.azure.blobs import AUDIENCE, Container
    from azwi_cli.azure.pipeline import Endpoint
    from azwi_cli.azure.session import Session

    base = _account(given["account_url"])
    session = Session(azure_options.login(given), azure_options.target(given))
    with session, Endpoint(base, session.credential, AUDIENCE) as endpoint:
        yield Site(Container(endpoint, given["container"]), url, plan)


def _account(url: str) -> str:
    from azwi_cli.azure.clouds import https

    base = https(url, "--account-url")
    if urlsplit(base).path:
        raise UsageError("--account-url has a path", "it looks like https://NAME.blob.core.windows.net")
    return base


def _publish(destination: "Destination", url: str, chosen: Sources) -> Result:
    before = {path: _json(destination.read(path), destination.where(path)) for path in ORDER}
    configuration, jwks = before[discovery.CONFIGURATION_PATH], before[discovery.JWKS_PATH]
    if configuration is not None:
        publication.check_issuer(configuration, url, destination.where(discovery.CONFIGURATION_PATH))
    where = destination.where(discovery.JWKS_PATH)
    published = [] if jwks is None else [(key, PUBLISHED) for key in keys.parse_jwks(jwks, where)]
    found = chosen.read(published)
    publication.check_keys([key for key, _ in found])
    made = documents(url, found)
    written = {path: _written(destination, path, made, before) for path in ORDER}
    return Result(
        url,
        made,
        {path: destination.where(path) for path in ORDER},
        written,
        found,
        [key.kid for key, origin in found if origin != PUBLISHED],
        jwks is None,
    )


def _written(destination: "Destination", path: str, made: Documents, before: dict[str, JsonObject | None]) -> str:
    if not destination.write(path, json.dumps(made[path], indent=2).encode()):
        return "unchanged"
    return "created" if before[path] is None else "updated"


def _json(content: bytes | None, where: str) -> JsonObject | None:
    if content is None:
        return None
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CommandError(f"{where} is not a JSON object", "delete it there if it is not needed, and run it again")
    return document


def _read_back(made: Documents) -> list[str]:
    configuration = made[discovery.CONFIGURATION_PATH]
    with output.progress(f"reading {configuration['issuer']}"):
        return list(publication.differences(configuration, made[discovery.JWKS_PATH]))


def _note(result: Result) -> None:
    """Warn of what a new key means for tokens that are signed with it soon."""
    if result.new and not result.first:
        output.warn(
            f"new there: {', '.join(result.new)}. Entra caches an issuer's keys, and refuses a token of a key that it "
            "has not read yet (AADSTS7000272): wait an hour before the API server signs with a new key"
        )


def _document(result: Result, problems: Sequence[str] | None, plan: Plan | None) -> JsonObject:
    document: JsonObject = {
        "dryRun": plan is not None,
        "issuer": result.issuer,
        "documents": [
            {"path": path, "where": result.places[path], "outcome": outcome} for path, outcome in result.written.items()
        ],
        "keys": [
            {"kid": key.kid, "algorithm": key.algorithm, "from": origin, "new": key.kid in result.new}
            for key, origin in result.keys
        ],
        "check": None if problems is None else {"served": not problems, "problems": list(problems)},
    }
    if plan is not None:
        document["requests"] = [request.document() for request in plan.requests]
    return document


def _text(result: Result, problems: Sequence[str] | None, plan: Plan | None) -> str:
    would = "would be " if plan is not None else ""
    rows = [
        (outcome if outcome == "unchanged" else f"{would}{outcome}", result.places[path])
        for path, outcome in result.written.items()
    ]
    parts = [
        output.table(("outcome", "document"), rows),
        "",
        output.table(("kid", "algorithm", "from"), [[key.kid, key.algorithm, origin] for key, origin in result.keys]),
    ]
    if problems == []:
        parts += ["", f"{result.issuer} serves both documents and all {len(result.keys)} keys."]
    if plan is not None:
        parts += ["", *(request.text() for request in plan.requests)] if plan.requests else ["", "Nothing to change."]
    return "\n".join(parts)
