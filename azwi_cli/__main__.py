"""`python -m azwi_cli`."""

from azwi_cli.main import run

run()
