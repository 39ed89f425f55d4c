"""The flags that `azwi run` and `azwi env` share, and the variables that they set and leave out."""

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click

from azure_workload_identity import names
from azwi_cli.azure.options import AZURE_ENV, with_options
from azwi_cli.cluster import completion
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.console.option_types import Duration, TokenExpiration
from azwi_cli.console.output import OutputFormat

Decorated = TypeVar("Decorated", bound=Callable[..., Any])

# Variables of the user's own logins, which a pod does not have: with one of them set, an SDK would use it instead.
FOREIGN: Final = (
    *sorted(names.ENV_OTHER_CREDENTIALS),
    *("AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_USERNAME", "AZURE_PASSWORD", names.ENV_TOKEN_CREDENTIALS),
    *(
        names.ENV_TOKEN_PROXY,
        names.ENV_TOKEN_PROXY_SNI,
        *sorted(names.ENV_TOKEN_PROXY_CAS),
        names.ENV_POD_IDENTITY_HOST,
    ),
    *(
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "IDENTITY_SERVER_THUMBPRINT",
        "IMDS_ENDPOINT",
        "MSI_ENDPOINT",
        "MSI_SECRET",
    ),
)
_IDENTITY: Final = (
    click.option(
        "--service-account",
        "--service-account-name",
        required=True,
        metavar="NAME",
        callback=cluster_flags.checked_name,
        shell_complete=completion.named("serviceaccounts"),
        help="The ServiceAccount whose pods' identity is wanted.",
    ),
    cluster_flags.options,
    click.option("--client-id", default="", metavar="UUID", help="Another identity than the one that its pods get."),
    click.option("--tenant-id", default="", metavar="ID", help="Another tenant than the one that its pods get."),
    AZURE_ENV,
    click.option("--authority-host", default="", metavar="URL", help="Another address of Entra than its pods get."),
    click.option("--audience", default="", help="Another audience of the token than in its pods."),
    click.option(
        "--token-expiration", type=TokenExpiration(), default=None, help="How long a token lives; default: as in a pod."
    ),
    click.option(
        "--renew-every",
        type=Duration(),
        default="0s",
        help="Renew the token that often, to try an app; default: at 80% of its life, as the kubelet does.",
    ),
)


def identity_options(command: Decorated) -> Decorated:
    """Add the flags that say whose identity, and of which cloud."""
    return with_options(_IDENTITY)(command)


def environment(environ: Mapping[str, str], variables: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """An environment with these variables, and the names of those that are left out of it."""
    left_out = [name for name in FOREIGN if name in environ and name not in variables]
    kept = {name: value for name, value in environ.items() if name not in left_out}
    return {**kept, **variables}, left_out


dry_run_format = click.option(
    "--output",
    "-o",
    "output_format",
    type=click.Choice([*OutputFormat], case_sensitive=False),
    default=OutputFormat.TABLE,
    show_default=str(OutputFormat.TABLE),
    help="Format of --dry-run.",
)
