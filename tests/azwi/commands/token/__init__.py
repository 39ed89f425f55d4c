"""azwi token."""
