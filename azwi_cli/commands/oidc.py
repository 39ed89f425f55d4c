"""`azwi oidc`: both documents of a self-managed issuer."""

import json
from pathlib import Path
from typing import Any

import click

from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.console.output import OutputFormat
from azwi_cli.issuer import discovery, sources
from azwi_cli.issuer.sources import Sources

# Path below the issuer → document.
Documents = dict[str, dict[str, Any]]


def documents(issuer_url: str, chosen: Sources) -> Documents:
    """Both documents; an empty issuer means the cluster's own.

    Raises:
        CommandError: when a source cannot be read or the issuer cannot be one.
    """
    url = _given(issuer_url) if issuer_url else discovery.checked(_cluster_issuer(chosen))
    found = chosen.read()
    sources.warn(found)
    algorithms = [key.algorithm for key, _ in found if key.algorithm]
    return {
        discovery.CONFIGURATION_PATH: discovery.configuration(url, algorithms),
        discovery.JWKS_PATH: sources.document(found),
    }


def _given(issuer_url: str) -> str:
    try:
        return discovery.checked(issuer_url)
    except CommandError as error:
        raise UsageError(f"--issuer-url: {error.message}", error.hint) from error


def _cluster_issuer(chosen: Sources) -> str:
    if not chosen.from_cluster:
        raise click.UsageError("give --issuer-url, or --from-cluster for the cluster's own issuer")
    with output.progress("reading the cluster's issuer"):
        return str(Cluster.connect(chosen.target).get(discovery.CONFIGURATION_PATH).get("issuer", ""))


@click.command("oidc")
@click.option(
    "--issuer-url",
    metavar="URL",
    default="",
    help="The issuer, byte for byte; default with --from-cluster: the cluster's.",
)
@sources.options
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write both there, each below the path at which it is to be published.",
)
@click.option("--check", is_flag=True, help="Write nothing; compare with what is published, as Entra would see it.")
@output.option
def command(
    *,
    issuer_url: str,
    output_dir: Path | None,
    check: bool,
    output_format: OutputFormat,
    kubeconfig: str,
    context: str,
    **given: Any,  # noqa: ANN401  click's
) -> None:
    """Write the discovery document and the JWKS of a self-managed issuer.

    \b
    azwi oidc --issuer-url https://oidc.example.com/ --public-keys sa.pub --output-dir site

    Publish the directory so that ISSUER/.well-known/openid-configuration and ISSUER/openid/v1/jwks answer over https.
    """  # noqa: D301  click reads the mark as: do not wrap
    chosen = Sources(**given, target=ClusterTarget(kubeconfig, context))
    made = documents(issuer_url, chosen)
    if check:
        _check(made)
    elif output_dir is None:
        output.write(made, output_format, lambda: _shown(made))
    else:
        files = {output_dir / path.lstrip("/"): document for path, document in made.items()}
        for file, document in files.items():
            output.write_file(file, json.dumps(document, indent=2))
        output.write({"files": list(map(str, files))}, output_format, lambda: "\n".join(map(str, files)))


def _check(made: Documents) -> None:
    url = made[discovery.CONFIGURATION_PATH]["issuer"]
    wanted = [key["kid"] for key in made[discovery.JWKS_PATH]["keys"]]
    with output.progress(f"reading {url}"):
        found = list(discovery.faults(url, wanted))
    if found:
        raise CommandError("; ".join(found), "azwi oidc --output-dir DIR writes both documents as they should be")
    click.echo(f"{url} publishes both documents and all {len(wanted)} keys.")


def _shown(made: Documents) -> str:
    base = made[discovery.CONFIGURATION_PATH]["issuer"].rstrip("/")
    return "\n".join(f"# {base}{path}\n{json.dumps(document, indent=2)}" for path, document in made.items())
