"""The command line `azwi`."""
