"""The certificates that the admission server presents."""
