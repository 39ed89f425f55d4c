"""`azwi oidc`: the documents of a self-managed issuer, written, compared and published.

command.py makes them, publish.py publishes them, destinations.py are the places where that can be.
"""

from azwi_cli.commands.oidc.command import command

__all__ = ["command"]
