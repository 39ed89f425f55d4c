"""The cluster that a command connects to."""
