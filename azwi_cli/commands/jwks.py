"""`azwi jwks`: the JSON Web Key Set of a self-managed issuer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from azwi_cli.cluster.kube import ClusterTarget
from azwi_cli.console import output
from azwi_cli.console.output import OutputFormat
from azwi_cli.issuer import sources
from azwi_cli.issuer.keys import Key
from azwi_cli.issuer.sources import Sources


@click.command("jwks")
@sources.options
@click.option("--output-file", type=click.Path(dir_okay=False, path_type=Path), help="Write it there.")
@output.format_option(OutputFormat.JSON)
def command(output_file: Path | None, output_format: OutputFormat, kubeconfig: str, context: str, **given: Any) -> None:  # noqa: ANN401  click's
    """Print the JSON Web Key Set of a self-managed issuer.

    Keys are RSA or EC (P-256, P-384, P-521); their kid is the one that the API server puts into tokens. Rotate in two
    steps: publish both keys before the API server signs with the new one, and drop the old one a day after that, when
    no token signed with it lives.

    \b
    azwi jwks --keep jwks.json --public-keys new.pub --output-file jwks.json
    azwi jwks --keep jwks.json --drop OLD-KID --output-file jwks.json
    """  # noqa: D301  click reads the mark as: do not wrap
    found = Sources(**given, target=ClusterTarget(kubeconfig, context)).read()
    sources.warn(found)
    if output_file is None:
        output.write(sources.document(found), output_format, lambda: _table(found))
    else:
        output.write_file(output_file, output.as_text(sources.document(found), output_format, lambda: _table(found)))


def _table(found: Sequence[tuple[Key, str]]) -> str:
    """The keys for people."""
    return output.table(["kid", "algorithm", "from"], [[key.kid, key.algorithm, origin] for key, origin in found])
