"""Reads what the checks of `azwi doctor` look at: a module for each part of the cluster, and Azure."""
