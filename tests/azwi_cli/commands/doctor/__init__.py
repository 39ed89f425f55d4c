"""The doctor's parts without a cluster."""
