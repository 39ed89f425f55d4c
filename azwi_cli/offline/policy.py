"""What the webhook was set up with, from the server's own flags and variables, for commands that decide as it does."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from webhook.admission.identity import IdentityMapping
from webhook.admission.policy import OptIn, Policy
from webhook.config import policies
from webhook.config.command_line import SettingsError, checked
from webhook.config.settings import SOURCES

# Those that decide what becomes of a pod; the others are about the server's own running.
SETTINGS: Final = (
    "tenant_id",
    "cloud",
    "authority_host",
    "audience",
    "second_audience",
    "token_expiration",
    "opt_in",
    "proxy_image",
    "proxy_init_image",
    "native_sidecars",
    "proxy_cpu_request",
    "proxy_memory_request",
    "proxy_cpu_limit",
    "proxy_memory_limit",
    "proxy_https_proxy",
    "proxy_no_proxy",
    "proxy_ca_configmap",
    "proxy_pass_through",
    "proxy_uid",
    *(name for name in SOURCES if name.startswith("endpoint_")),
)
# Stands for a tenant that is not known; nobody takes it for a real one.
UNKNOWN_TENANT: Final = "00000000-0000-0000-0000-000000000000"

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def options(command: Decorated) -> Decorated:
    """Add the server's flags that decide what becomes of a pod; their variables count as they do there."""
    for name in reversed(SETTINGS):
        source = SOURCES[name]
        if source.flag:
            metavar = source.flag.rsplit("-", 1)[-1].upper()
            help_text = f"As the server's: {source.help}."
            complete = _opt_in_modes if name == "opt_in" else None
            flag = click.option(f"--{source.flag}", name, metavar=metavar, shell_complete=complete, help=help_text)
            command = flag(command)
    variable = SOURCES["tenant_id"].env
    tenant = click.option(
        "--tenant-id", metavar="ID", envvar=variable, show_envvar=True, help="The tenant where an account names none."
    )
    return tenant(command)


def _opt_in_modes(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The modes, also after a comma."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{mode}" for mode in OptIn if mode.startswith(last)]


def build(given: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Policy:
    """The policy from the parameters of `options` (None: not given) and the server's variables that have no flag.

    The identity mapping is left out: azwi_cli.offline.mapping reads it. UNKNOWN_TENANT stands for a missing tenant.

    Raises:
        click.UsageError: with a sentence for each setting that cannot be used.
    """
    values = {name: environ[env] for name in SETTINGS if (env := SOURCES[name].env) and environ.get(env)}
    values |= {name: value for name, value in given.items() if value is not None}
    values["tenant_id"] = values.get("tenant_id") or UNKNOWN_TENANT
    try:
        settings = checked({**values, "service_accounts": Path()})
    except SettingsError as error:
        raise click.UsageError(str(error)) from error
    return policies.build(settings, IdentityMapping(), None)
