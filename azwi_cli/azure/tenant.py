"""The subscription to use, and the tenant that it belongs to."""

import configparser
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from azwi_cli.azure.clouds import BY_NAME, Cloud
from azwi_cli.azure.errors import NOT_FOUND
from azwi_cli.azure.pipeline import Endpoint
from azwi_cli.console.errors import CommandError
from webhook.admission.values import is_uuid

ENV_CLI_DIRECTORY: Final = "AZURE_CONFIG_DIR"
SUBSCRIPTION_VERSION: Final = {"api-version": "2022-12-01"}
_AUTHORITY: Final = re.compile(r'authorization_uri="https://[^"]*/([0-9a-fA-F-]{36})/?"')
_NIL: Final = "00000000-0000-0000-0000-000000000000"


def selected_subscription(cloud: Cloud, environ: Mapping[str, str]) -> str:
    """The subscription that the Azure CLI has selected in its own files; empty when there is none.

    Raises:
        CommandError: when the CLI is set to another cloud.
    """
    directory = Path(environ.get(ENV_CLI_DIRECTORY) or Path(environ.get("HOME") or Path.home()) / ".azure")
    name = _ini(directory / "config").get("cloud", "name", fallback="AzureCloud")
    subscription = _ini(directory / "clouds.config").get(name, "subscription", fallback="")
    if not is_uuid(subscription) or subscription == _NIL:
        return ""
    if BY_NAME.get(name.lower()) != cloud and (name.lower() in BY_NAME or cloud in BY_NAME.values()):
        raise CommandError(
            f"the Azure CLI is set to {name}, and this is about {cloud.name}",
            "give --azure-env for that cloud, or --subscription-id for this one",
        )
    return subscription


def _ini(file: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(file, encoding="utf-8-sig")
    except (configparser.Error, OSError, UnicodeDecodeError) as error:
        raise CommandError(f"cannot read {file} of the Azure CLI", "give --subscription-id") from error
    return parser


def tenant_of(subscription: str, cloud: Cloud) -> str:
    """The tenant of a subscription; ARM names it in its response to a request without a token.

    Raises:
        CommandError: when ARM does not know the subscription, or does not name its tenant.
    """
    with Endpoint(cloud.arm) as arm:
        status, challenge = arm.challenge(f"/subscriptions/{subscription}", SUBSCRIPTION_VERSION)
    if status == NOT_FOUND:
        raise CommandError(
            f"there is no subscription {subscription} in {cloud.name}",
            "az account list shows yours; a subscription of another cloud needs its --azure-env",
        )
    found = _AUTHORITY.search(challenge)
    if found is None:
        raise CommandError(f"{cloud.arm} does not name the tenant of {subscription}", "give --tenant-id")
    return found[1].lower()
