"""The commands of azwi: one module or folder each."""
