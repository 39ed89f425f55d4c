"""What the tests on a real API server share."""
