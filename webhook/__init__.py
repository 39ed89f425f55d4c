"""The Azure Workload Identity admission webhook."""
