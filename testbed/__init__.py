"""Real programs and stand-ins for Azure that tests and benchmarks share."""
