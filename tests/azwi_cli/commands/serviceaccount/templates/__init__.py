"""What `azwi serviceaccount create` prints for other tools."""
