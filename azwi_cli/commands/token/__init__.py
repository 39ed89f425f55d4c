"""`azwi token`: try the exchange of a ServiceAccount's token."""

from azwi_cli.commands.token.command import command

__all__ = ["command"]
