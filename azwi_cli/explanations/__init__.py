"""What every code means, its most likely causes, and the fix: one source for `azwi explain` and the manual."""
