"""`azwi mutate`: what the webhook would make of manifests, by the webhook's own code and without a cluster."""

from azwi_cli.commands.mutate.command import command

__all__ = ["command"]
