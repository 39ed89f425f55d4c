"""The pure room: one admission, from dicts to dicts."""
