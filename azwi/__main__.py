"""`python -m azwi`."""

from azwi.main import run

run()
