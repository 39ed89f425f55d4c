"""`azwi serviceaccount`."""
