"""The Azure Workload Identity admission webhook."""

__version__ = "0.1.0"
