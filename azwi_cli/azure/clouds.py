"""Azure's clouds: where each has its endpoints, and what its federated credentials have as audience."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from azure_workload_identity import entra, names
from azwi_cli.console.errors import CommandError, UsageError

# A cloud of one's own, described by a file: https://github.com/Azure/go-autorest/blob/main/autorest/azure/environments.go
STACK: Final = "azurestackcloud"
ENV_STACK_FILE: Final = "AZURE_ENVIRONMENT_FILEPATH"
CLOSED: Final = "azuregermancloud"
METADATA_VERSION: Final = "2022-09-01"


@dataclass(frozen=True, slots=True)
class Cloud:
    """One cloud; its endpoints are https URLs without a slash at the end.

    Args:
        audience: what Entra expects in a token that a pod exchanges.
        well_known: whether Entra's own instance discovery knows the authority.
    """

    name: str
    authority_host: str
    arm: str
    arm_audience: str
    graph: str
    audience: str = names.DEFAULT_AUDIENCE
    well_known: bool = True

    def overridden(self, authority_host: str = "", graph: str = "", audience: str = "") -> "Cloud":
        """The same cloud with what is not empty in place of its own; an authority may be a bare host."""
        scheme = "" if "://" in authority_host else "https://"
        authority = https(scheme + authority_host, "--authority-host") if authority_host else ""
        return replace(
            self,
            authority_host=authority or self.authority_host,
            graph=https(graph, "--graph-endpoint") if graph else self.graph,
            audience=audience or self.audience,
            well_known=self.well_known and authority in ("", self.authority_host),
        )


def _sovereign(name: str, arm: str, graph: str) -> Cloud:
    authority = names.AUTHORITY_HOSTS[name.lower()].rstrip("/")
    audience = entra.exchange_audience(authority)
    return Cloud(name, authority, f"https://{arm}", f"https://{arm}", f"https://{graph}", audience)


PUBLIC: Final = _sovereign("AzurePublicCloud", "management.azure.com", "graph.microsoft.com")
US_GOVERNMENT: Final = _sovereign("AzureUSGovernmentCloud", "management.usgovcloudapi.net", "graph.microsoft.us")
CHINA: Final = _sovereign("AzureChinaCloud", "management.chinacloudapi.cn", "microsoftgraph.chinacloudapi.cn")
# In lower case; the second name of each is the Azure CLI's.
BY_NAME: Final[Mapping[str, Cloud]] = {
    "azurepubliccloud": PUBLIC,
    "azurecloud": PUBLIC,
    "azureusgovernmentcloud": US_GOVERNMENT,
    "azureusgovernment": US_GOVERNMENT,
    "azurechinacloud": CHINA,
}


def named(name: str, environ: Mapping[str, str]) -> Cloud:
    """The cloud of that name, in any case.

    Raises:
        CommandError: when there is none, or the file that describes it cannot be used.
    """
    lowered = name.lower()
    if lowered == CLOSED:
        raise UsageError("AzureGermanCloud was closed in 2021", "today's German regions are in AzurePublicCloud")
    if lowered == STACK:
        return _from_file(environ.get(ENV_STACK_FILE, ""))
    if lowered not in BY_NAME:
        known = ", ".join(cloud.name for cloud in (PUBLIC, US_GOVERNMENT, CHINA))
        raise UsageError(
            f"--azure-env {name!r} is not an Azure cloud",
            f"it is one of {known}, AzureStackCloud; for any other cloud give --arm-endpoint",
        )
    return BY_NAME[lowered]


def from_metadata(arm: str, metadata: Mapping[str, Any]) -> Cloud:
    """The cloud that an ARM endpoint describes at /metadata/endpoints.

    Raises:
        CommandError: when the description lacks something.
    """
    login = metadata.get("authentication")
    authentication: Mapping[str, Any] = login if isinstance(login, dict) else {}
    audiences = authentication.get("audiences") or [""]
    return _described(
        str(metadata.get("name") or "custom"),
        arm,
        authority=authentication.get("loginEndpoint"),
        audience=audiences[0],
        graph=metadata.get("microsoftGraphResourceId"),
        source=f"{arm}/metadata/endpoints",
    )


def _from_file(path: str) -> Cloud:
    try:
        described = json.loads(Path(path).read_bytes()) if path else None
    except (OSError, ValueError) as error:
        raise CommandError(f"{ENV_STACK_FILE}={path} cannot be read: {error}", "it names a JSON file") from error
    if not isinstance(described, dict):
        raise UsageError(
            f"AzureStackCloud needs the file that {ENV_STACK_FILE} names",
            "set it, or name the cloud by --arm-endpoint instead",
        )
    return _described(
        str(described.get("name") or "AzureStackCloud"),
        described.get("resourceManagerEndpoint"),
        authority=described.get("activeDirectoryEndpoint"),
        audience=described.get("tokenAudience"),
        graph=described.get("microsoftGraphEndpoint"),
        source=path,
    )


def _described(name: str, arm: object, *, authority: object, audience: object, graph: object, source: str) -> Cloud:
    known = next((cloud for cloud in BY_NAME.values() if cloud.arm == str(arm).rstrip("/")), None)
    if known is not None:
        return known
    return Cloud(
        name=name,
        authority_host=https(authority, f"the authority in {source}"),
        arm=https(arm, f"the ARM endpoint in {source}"),
        arm_audience=https(audience or arm, f"the audience in {source}"),
        # Azure Stack Hub has no Microsoft Graph; what needs it says so.
        graph=https(graph, f"the Graph endpoint in {source}") if graph else "",
        well_known=False,
    )


def https(url: object, what: str) -> str:
    """The URL without a slash at its end.

    Raises:
        CommandError: when it is not https, or has more than a host, a port and a path.
    """
    text = str(url or "")
    try:
        parts = urlsplit(text)
        usable = parts.scheme == "https" and parts.hostname and not (parts.query or parts.fragment or parts.username)
        usable = usable and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or not text.isprintable() or " " in text:
        raise UsageError(f"{what} is not an https address", "it looks like https://host or https://host/path")
    return text.rstrip("/")
