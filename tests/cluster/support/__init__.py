"""Helpers of the tests on a real API server."""
