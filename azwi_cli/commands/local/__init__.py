"""A pod's identity on this machine: `azwi run` for one command, `azwi env` for a shell or a container."""
