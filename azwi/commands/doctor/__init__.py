"""Why pods get no token, and what mends it: `azwi doctor`.

Read command.py first: reader.py makes a snapshot of the cluster, azure.py of what Azure trusts, and checks_*.py are
functions from a snapshot to findings.
"""

from azwi.commands.doctor.command import command

__all__ = ["command"]
