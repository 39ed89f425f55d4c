"""Migration from aad-pod-identity: `azwi podidentity`."""

import click

from azwi.groups import Group
from azwi.podidentity.detect import detect


@click.group("podidentity", cls=Group, short_help="Migrate from aad-pod-identity.")
def command() -> None:
    """Migrate from aad-pod-identity."""


command.add_command(detect)
