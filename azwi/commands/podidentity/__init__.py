"""Migration from aad-pod-identity: `azwi podidentity`."""

import click

from azwi.commands.podidentity.detect import detect
from azwi.console.groups import Group


@click.group("podidentity", cls=Group)
def command() -> None:
    """Migrate from aad-pod-identity."""


command.add_command(detect)
