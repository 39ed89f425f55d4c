"""Both documents of an issuer, from the sources that the flags name."""

from collections.abc import Sequence
from typing import Any

import click

from azwi_cli.cluster.kube import Cluster
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.issuer import discovery, sources
from azwi_cli.issuer.keys import Key
from azwi_cli.issuer.sources import Sources

# Path below the issuer → document.
Documents = dict[str, dict[str, Any]]
Found = Sequence[tuple[Key, str]]


def issuer(issuer_url: str, chosen: Sources) -> str:
    """The issuer that is given, else the cluster's own.

    Raises:
        CommandError: when it cannot be one, or is not known.
    """
    if not issuer_url:
        return discovery.checked(_cluster_issuer(chosen))
    try:
        return discovery.checked(issuer_url)
    except CommandError as error:
        raise UsageError(f"--issuer-url: {error.message}", error.hint) from error


def documents(url: str, found: Found) -> Documents:
    """Both documents of an issuer with these keys."""
    algorithms = [key.algorithm for key, _ in found if key.algorithm]
    return {
        discovery.CONFIGURATION_PATH: discovery.configuration(url, algorithms),
        discovery.JWKS_PATH: sources.document(found),
    }


def _cluster_issuer(chosen: Sources) -> str:
    if not chosen.from_cluster:
        raise click.UsageError("give --issuer-url, or --from-cluster for the cluster's own issuer")
    with output.progress("reading the cluster's issuer"):
        return str(Cluster.connect(chosen.target).get(discovery.CONFIGURATION_PATH).get("issuer", ""))
