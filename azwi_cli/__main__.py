"""`python -m azwi_cli`."""

from azwi_cli.start import run

run()
