"""`azwi version`."""

import click

from azure_workload_identity import version
from azwi_cli.console import output
from azwi_cli.console.output import OutputFormat


@click.command("version")
@output.option
def command(output_format: OutputFormat) -> None:
    """Print azwi's version and the commit it was built from."""
    found = version.information()
    output.write(found, output_format, lambda: f"Version: {found['buildVersion']}\nGitCommit: {found['gitCommit']}")
