"""`azwi version`."""

import click

from azure_workload_identity import version
from azwi.console import output
from azwi.console.output import Form


@click.command("version", short_help="Print azwi's version.")
@output.option
def command(form: Form) -> None:
    """Print azwi's version and the commit it was built from."""
    told = version.information()
    output.write(told, form, lambda: f"Version: {told['buildVersion']}\nGitCommit: {told['gitCommit']}")
