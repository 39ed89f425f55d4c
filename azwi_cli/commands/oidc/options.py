"""Flags that `azwi oidc` and `azwi oidc publish` share."""

from typing import Final

import click

from azwi_cli.azure.options import Option

issuer_url: Final[Option] = click.option(
    "--issuer-url",
    metavar="URL",
    default="",
    help="The issuer, byte for byte; default with --from-cluster: the cluster's.",
)
