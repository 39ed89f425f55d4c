"""`azwi migrate values`: this chart's values from those of v1.6.0's chart."""

from typing import Final

import click

from azure_workload_identity.kube_yaml import reader
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.migrate.conversion import convert
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError

STDIN: Final = "-"
EXPECTED: Final = "give the output of helm get values -o yaml"


@click.command("values")
@click.argument("file", default=STDIN)
@click.option("--in-place", is_flag=True, help="For `helm upgrade` of the release itself: with upstreamNames.")
def command(file: str, *, in_place: bool) -> None:
    """Print this chart's values, made from those of v1.6.0's chart: FILE, or stdin.

    Each value that is left out is named on stderr, with the reason.

    \b
    helm -n azure-workload-identity-system get values workload-identity-webhook -o yaml > theirs.yaml
    azwi migrate values theirs.yaml > values.yaml
    """  # noqa: D301  click reads the mark as: do not wrap
    values, left_out = convert(_read(file), in_place=in_place)
    for path, reason in left_out:
        output.warn(f"{path} is left out: {reason}")
    click.echo(output.as_yaml(values), nl=False)


def _read(file: str) -> JsonObject:
    source = "stdin" if file == STDIN else file
    try:
        with click.open_file(file, "rb") as stream:
            values = reader.read_one(stream.read(reader.MAX_BYTES + 1), source) or {}
    except OSError as error:
        raise CommandError(f"{source} cannot be read: {error.strerror}", EXPECTED) from error
    except reader.YamlError as error:
        raise CommandError(str(error), EXPECTED) from error
    if not isinstance(values, dict):
        raise CommandError(f"{source} has no values", EXPECTED)
    return values
