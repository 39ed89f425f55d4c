"""The API server: requests, watches, Events."""
