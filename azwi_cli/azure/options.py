"""The flags that name a cloud and a way to log in, and the values that they become."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import fields
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from azure_workload_identity import names
from azwi_cli.azure.auth import Login, Method
from azwi_cli.azure.target import CloudTarget

Decorated = TypeVar("Decorated", bound=Callable[..., Any])
Option = Callable[[Any], Any]
Params = dict[str, Any]


def without_equals_sign(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """The value of a short flag, which v1.6.0 takes as `-s=VALUE` too."""
    return value.removeprefix("=")


def _clouds(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in CLOUDS if name.lower().startswith(incomplete.lower())]


CLOUDS: Final = ("AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud", "AzureStackCloud")
ENV_SUBSCRIPTION_ID: Final = "AZURE_SUBSCRIPTION_ID"
# The variables that stand in for flags.
AZURE_VARIABLES: Final = (
    names.ENV_AUTHORITY_HOST,
    ENV_SUBSCRIPTION_ID,
    names.ENV_TENANT_ID,
    names.ENV_CLIENT_ID,
)

AZURE_ENV: Final = click.option(
    "--azure-env", default="AzurePublicCloud", show_default=True, metavar="CLOUD", shell_complete=_clouds,
    help="Cloud: AzurePublicCloud, AzureUSGovernmentCloud, AzureChinaCloud or AzureStackCloud.",
)  # fmt: skip
# What a login needs of a cloud.
LOGIN_CLOUD: Final[tuple[Option, ...]] = (
    AZURE_ENV,
    click.option("--arm-endpoint", default="", metavar="URL", help="ARM of another cloud; it is asked for the rest."),
    click.option("--authority-host", default="", envvar=names.ENV_AUTHORITY_HOST, show_envvar=True, metavar="URL",
                 help="Entra's address, where it is not the cloud's."),
)  # fmt: skip
CLOUD: Final[tuple[Option, ...]] = (
    *LOGIN_CLOUD,
    click.option("--graph-endpoint", default="", metavar="URL", help="Graph's address, where it is not the cloud's."),
    click.option("--audience", default="", help="Audience of the pods' tokens, where it is not the cloud's."),
)  # fmt: skip
LOGIN: Final[tuple[Option, ...]] = (
    click.option("--subscription-id", "-s", default="", envvar=ENV_SUBSCRIPTION_ID, show_envvar=True,
                 metavar="UUID", callback=without_equals_sign, help="Subscription; default: the Azure CLI's."),
    click.option("--tenant-id", default="", envvar=names.ENV_TENANT_ID, show_envvar=True, metavar="ID",
                 help="Tenant; default: the subscription's."),
    click.option("--auth-method", type=click.Choice(Method, case_sensitive=False), default=Method.DEFAULT,
                 show_default="default", help="How to log in to Azure; the default is azure-identity's chain."),
    click.option("--client-id", default="", envvar=names.ENV_CLIENT_ID, show_envvar=True, metavar="UUID",
                 help="Who logs in, for the methods that need it."),
    click.option("--client-secret", default="", metavar="SECRET",
                 help="For client_secret; others see it in the process list, so prefer AZURE_CLIENT_SECRET or a file."),
    click.option("--client-secret-file", default="", metavar="FILE", help="A file with the secret."),
    click.option("--certificate-path", default="", metavar="FILE", help="PEM file, for client_certificate."),
    click.option("--private-key-path", default="", metavar="FILE", help="PEM file of its key, where it is another."),
)  # fmt: skip


def with_options(*groups: tuple[Option, ...]) -> Callable[[Decorated], Decorated]:
    """Give a command the flags of some groups, listed in that order."""

    def decorated(command: Decorated) -> Decorated:
        for option in (option for group in reversed(groups) for option in reversed(group)):
            command = option(command)
        return command

    return decorated


def flags_to_repeat(context: click.Context, names: Collection[str]) -> Iterator[str]:
    """Those of the command line's flags that a printed command needs, too; a variable is there without."""
    for flag in context.command.params:
        name = flag.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if name in names and given and context.params[name]:
            yield f"{flag.opts[0]}={context.params[name]}"


def target(given: Params) -> CloudTarget:
    """The cloud that the flags select."""
    return CloudTarget(**{field.name: given[field.name] for field in fields(CloudTarget) if field.name in given})


def login(given: Params) -> Login:
    """Who logs in; the subscription is that of the managed identity where none is named."""
    values = {field.name: given[field.name] for field in fields(Login) if field.name in given}
    method = given["auth_method"]
    resource_id = given.get("identity_resource_id") or ""
    if not values.get("subscription_id") and resource_id.count("/") > 2:  # noqa: PLR2004  /subscriptions/UUID/...
        values["subscription_id"] = resource_id.split("/")[2]
    return Login(**{**values, "method": method}).checked()
