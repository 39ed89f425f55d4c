"""YAML as kubectl reads it: one reader and one writer for the server, its identity mapping, and azwi."""
