"""`azwi oidc`."""
