"""Migration from aad-pod-identity: `azwi podidentity`."""

import click

from azwi_cli.commands.podidentity.detect import detect
from azwi_cli.console.groups import Group


@click.group("podidentity", cls=Group)
def command() -> None:
    """Migrate from aad-pod-identity."""


command.add_command(detect)
