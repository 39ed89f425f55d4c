"""`azwi doctor`: finds out why pods get no token, and how to fix it.

Read command.py first: reader.py makes a snapshot of the cluster, azure.py reads the federated credentials,
and the modules in checks/ are functions from a snapshot to findings.
"""

from azwi_cli.commands.doctor.command import command

__all__ = ["command"]
