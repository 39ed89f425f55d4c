"""The checks of `azwi doctor`: functions from a snapshot to findings."""
