"""The HTTPS admission server and what it needs to run."""
