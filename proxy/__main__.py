"""`python -m proxy` is `azwi-proxy`."""

from proxy.main import run

run()
