"""Output, errors and option types."""
