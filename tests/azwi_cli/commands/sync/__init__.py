"""`azwi sync`."""
