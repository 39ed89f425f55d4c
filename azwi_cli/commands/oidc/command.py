"""`azwi oidc`: both documents of a self-managed issuer."""

import json
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from azwi_cli.cluster.kube import ClusterTarget
from azwi_cli.commands.oidc import options
from azwi_cli.commands.oidc.documents import Documents, documents, issuer
from azwi_cli.commands.oidc.publish import command as publish
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError
from azwi_cli.console.output import OutputFormat
from azwi_cli.issuer import discovery, sources
from azwi_cli.issuer.sources import Sources


@click.group("oidc", invoke_without_command=True)
@options.issuer_url
@sources.options
@click.option(
    "--output-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write both there, each below the path at which it is to be published.",
)
@click.option("--check", is_flag=True, help="Write nothing; compare with what is published, as Entra would see it.")
@output.option
def command(**given: Any) -> None:  # noqa: ANN401  click's
    """Write the discovery document and the JWKS of a self-managed issuer.

    \b
    azwi oidc --issuer-url https://oidc.example.com/ --public-keys sa.pub --output-dir site

    Publish the directory so that ISSUER/.well-known/openid-configuration and ISSUER/openid/v1/jwks answer over https.
    azwi oidc publish does that in Azure Storage.
    """  # noqa: D301  click reads the mark as: do not wrap
    context = click.get_current_context()
    if context.invoked_subcommand is None:
        _write(**given)
    elif any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in given):
        raise click.UsageError(f"the flags follow its name: azwi oidc {context.invoked_subcommand} FLAGS")


command.add_command(publish)


def _write(
    *,
    issuer_url: str,
    output_dir: Path | None,
    check: bool,
    output_format: OutputFormat,
    kubeconfig: str,
    context: str,
    **given: Any,  # noqa: ANN401  click's
) -> None:
    chosen = Sources(**given, target=ClusterTarget(kubeconfig, context))
    url, found = issuer(issuer_url, chosen), chosen.read()
    sources.warn(found)
    made = documents(url, found)
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
