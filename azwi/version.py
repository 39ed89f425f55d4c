"""`azwi version`."""

import click

from azwi import output
from azwi.output import Form
from webhook import version


@click.command("version", short_help="Print azwi's version.")
@output.option
def command(form: Form) -> None:
    """Print azwi's version and the commit it was built from."""
    told = version.information()
    output.write(told, form, lambda: f"Version: {told['buildVersion']}\nGitCommit: {told['gitCommit']}")
