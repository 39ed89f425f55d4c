"""The flags of `azwi serviceaccount`, in groups that its commands share, and the values that they become."""

from collections.abc import Callable
from dataclasses import fields
from typing import Final

import click

from azure_workload_identity import names
from azwi_cli.azure.ids import identity_id
from azwi_cli.azure.options import CLOUD, LOGIN, Option, Params
from azwi_cli.azure.polling import DEFAULT_SECONDS
from azwi_cli.cluster import completion, kube
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.commands.serviceaccount.phases import ALIASES
from azwi_cli.commands.serviceaccount.request import DEFAULT_NAMESPACE, Request
from azwi_cli.commands.serviceaccount.templates.identity import TemplateFormat
from azwi_cli.console import output
from azwi_cli.console.errors import UsageError
from azwi_cli.console.option_types import Duration, TokenExpiration
from azwi_cli.console.output import OutputFormat


def _phases(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """The phases, also after a comma."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{phase}" for phase in ALIASES.values() if phase.startswith(last)]


AZURE: Final[tuple[Option, ...]] = (*CLOUD, *LOGIN)
ACCOUNT: Final[tuple[Option, ...]] = (
    click.option("--service-account-name", "--service-account", default="", metavar="NAME",
                 callback=cluster_flags.checked_name, shell_complete=completion.named("serviceaccounts"),
                 help="The ServiceAccount."),
    click.option("--service-account-namespace", "--namespace", "-n", default=DEFAULT_NAMESPACE, show_default=True,
                 metavar="NAME", callback=cluster_flags.checked_name, shell_complete=completion.namespaces,
                 help="Its namespace."),
    cluster_flags.cluster_options,
)  # fmt: skip
ISSUER: Final[tuple[Option, ...]] = (
    click.option("--service-account-issuer-url", default="", metavar="URL",
                 help="Issuer of its tokens, byte for byte; default: the cluster's own."),
)  # fmt: skip
EXPIRATION: Final[tuple[Option, ...]] = (
    click.option("--service-account-token-expiration", "token_expiration", type=TokenExpiration(), default="1h0m0s",
                 show_default=True, help="How long its tokens live, from 1h to 24h."),
    click.option("--label", is_flag=True,
                 help=f"Set the label {names.USE_LABEL}=true on it, by which admission policies can select "
                 "ServiceAccounts (the chart's policy.accountSelector). Without it, one that is set stays."),
    click.option("--force-conflicts", is_flag=True, help="Take annotations over that another manager has set."),
)  # fmt: skip
APPLICATION: Final[tuple[Option, ...]] = (
    click.option("--aad-application-name", default="", metavar="NAME",
                 help="Entra application; default: NAMESPACE-NAME-HASH of the issuer."),
    click.option("--aad-application-client-id", default="", metavar="UUID", help="The same by its client id."),
    click.option("--aad-application-object-id", default="", metavar="UUID", help="The same by its object id."),
)  # fmt: skip
IDENTITY: Final[tuple[Option, ...]] = (
    click.option("--identity-resource-id", default="", metavar="ID",
                 help="User-assigned managed identity instead of an application."),
    click.option("--identity-name", default="", metavar="NAME", help="The same by its name, in the subscription."),
    click.option("--identity-resource-group", default="", metavar="NAME", help="The resource group of that name."),
)  # fmt: skip
LOCATION: Final[tuple[Option, ...]] = (
    click.option("--identity-location", default="", metavar="REGION",
                 help="Create the managed identity there when it does not exist."),
)  # fmt: skip
PRINCIPAL: Final[tuple[Option, ...]] = (
    click.option("--service-principal-name", default="", metavar="NAME",
                 help="Who gets the role; default: the application's service principal."),
    click.option("--service-principal-object-id", default="", metavar="UUID", help="The same by its object id."),
)  # fmt: skip
ROLE: Final[tuple[Option, ...]] = (
    click.option("--azure-scope", default="", metavar="ID", help="What the role is for: the id of a subscription, "
                 "resource group, resource or management group."),
    click.option("--azure-role", default="", metavar="ROLE", help="The role, by name or GUID."),
)  # fmt: skip
ASSIGNMENT: Final[tuple[Option, ...]] = (
    click.option("--role-assignment-id", default="", metavar="ID", help="The role assignment, by its whole id."),
)
SKIP: Final[tuple[Option, ...]] = (
    click.option(
        "--skip-phases",
        multiple=True,
        metavar="PHASES",
        shell_complete=_phases,
        help="Phases to leave out, separated by commas.",
    ),
)
CHANGE: Final[tuple[Option, ...]] = (
    click.option("--propagation-timeout", type=Duration(), default=f"{DEFAULT_SECONDS:.0f}s", show_default=True,
                 help="How long to wait until Azure shows a written object."),
    click.option("--dry-run", is_flag=True, help="Change nothing; print every request that would change something."),
)  # fmt: skip
RUN: Final[tuple[Option, ...]] = (*CHANGE, output.option)
# Of create as a whole.
CREATE_RUN: Final[tuple[Option, ...]] = (
    *CHANGE,
    click.option("--output", "-o", "output_format",
                 type=click.Choice([*OutputFormat, *TemplateFormat], case_sensitive=False), default=OutputFormat.TABLE,
                 show_default=str(OutputFormat.TABLE),
                 help="Format of the result; or call nothing in Azure, and print a managed identity and its "
                 "ServiceAccount for Bicep, Terraform or Azure Service Operator."),
)  # fmt: skip


def cluster_target(given: Params) -> kube.ClusterTarget:
    """The cluster that the flags select."""
    return kube.ClusterTarget(given.get("kubeconfig", ""), given.get("context", ""))


def request(given: Params, subscription: Callable[[], str]) -> Request:
    """What is wanted; `subscription` is asked when a managed identity is named without one.

    Raises:
        UsageError: for values that cannot be right.
    """
    values = {field.name: given[field.name] for field in fields(Request) if field.name in given}
    group, name = given.get("identity_resource_group"), given.get("identity_name")
    if bool(group) != bool(name) or (name and values.get("identity_resource_id")):
        raise UsageError(
            "a managed identity is named by --identity-name with --identity-resource-group, or --identity-resource-id",
            "give the first two, or the last alone",
        )
    if group and name:
        values["identity_resource_id"] = identity_id(subscription(), group, name)
    if values.get("identity_location") and not values.get("identity_resource_id"):
        raise UsageError("--identity-location is for a managed identity", "name it by --identity-name too")
    return Request(**values)
