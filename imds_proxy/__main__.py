"""`python -m imds_proxy` is `azwi-proxy`."""

from imds_proxy.main import run

run()
