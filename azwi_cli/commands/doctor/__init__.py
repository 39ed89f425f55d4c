"""`azwi doctor`: finds out why pods get no token, and how to fix it.

Read command.py first: reads/ fills a snapshot of the cluster and of what Azure trusts, as far as each check needs it,
and the modules in checks/ are functions from the snapshot to findings.
"""

from azwi_cli.commands.doctor.command import command

__all__ = ["command"]
