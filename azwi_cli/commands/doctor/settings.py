"""What a running webhook was set up with, read from its Deployment by the server's own parser."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from azure_workload_identity.go_flags import two_dashes
from azwi_cli.offline.policy import UNKNOWN_TENANT
from webhook.admission.identity import IdentityMapping
from webhook.admission.policy import OptIn, Policy
from webhook.config import policies
from webhook.config.command_line import SettingsError, checked
from webhook.config.settings import SOURCES

_READ: Final = frozenset(
    {
        "opt_in",
        "audience",
        "second_audience",
        "endpoint_suffix",
        "endpoint_audience",
        "endpoint_url",
        "token_expiration",
        "tenant_id",
        "cloud",
        "authority_host",
        "proxy_cpu_request",
        "proxy_memory_request",
        "proxy_cpu_limit",
        "proxy_memory_limit",
    }
)


def policy(arguments: list[str], environ: Mapping[str, str], mapping: IdentityMapping) -> Policy:
    """The policy of a server with this command line and environment; what cannot be used counts as not set.

    It decides here whether pods take part, and what a proxy needs; images are not compared, so they need not be right.
    """
    given: dict[str, Any] = {}
    for name, source in SOURCES.items():
        value = _flag(arguments, source.flag) or (environ.get(source.env) if source.env else None)
        if value and name in _READ:
            given[name] = value
    given.setdefault("tenant_id", UNKNOWN_TENANT)
    try:
        settings = checked({**given, "service_accounts": Path()})
    except SettingsError:
        settings = checked({"tenant_id": UNKNOWN_TENANT, "service_accounts": Path()})
    return policies.build(settings, mapping, None)


def default() -> Policy:
    """The policy of a server with nothing set."""
    return policy([], {}, IdentityMapping())


def takes_labels(found: Policy) -> bool:
    """Whether a pod's own label opts it in."""
    return OptIn.POD_LABEL in found.opt_in


def flag(arguments: list[str], name: str) -> str:
    """The value of a flag on a command line, empty where it is not."""
    return _flag(arguments, name) or ""


def _flag(arguments: list[str], name: str) -> str | None:
    for index, argument in enumerate(arguments):
        key, separator, value = two_dashes(argument).partition("=")
        if name and key == f"--{name}":
            return value if separator else next(iter(arguments[index + 1 :]), "")
    return None
