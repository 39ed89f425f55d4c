"""Migration from the original webhook, v1.6.0: `azwi migrate`."""

import click

from azwi_cli.commands.migrate.values import command as values_command
from azwi_cli.console.groups import Group


@click.group("migrate", cls=Group)
def command() -> None:
    """Migrate from azure-workload-identity v1.6.0."""


command.add_command(values_command)
