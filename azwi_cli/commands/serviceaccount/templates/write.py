"""From the parameters of `azwi serviceaccount create` to the text of a template; nothing in Azure is called."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

import click

from azwi_cli.azure.ids import checked_scope
from azwi_cli.azure.options import Params, target
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.serviceaccount import options
from azwi_cli.commands.serviceaccount.request import Request
from azwi_cli.commands.serviceaccount.templates import aso, bicep, terraform
from azwi_cli.commands.serviceaccount.templates.identity import Template, TemplateFormat
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.issuer import discovery

# Stands for a subscription that need not be known.
_ANY: Final = "00000000-0000-0000-0000-000000000000"
_WRITERS: Final[Mapping[TemplateFormat, Callable[[Template], str]]] = {
    TemplateFormat.BICEP: bicep.text,
    TemplateFormat.TERRAFORM: terraform.text,
    TemplateFormat.ASO: aso.text,
}


def write(given: Params, language: TemplateFormat) -> None:
    """Print the identity that the parameters describe.

    Raises:
        CommandError: when something is missing, cannot be right, or cannot be said in that language.
    """
    click.echo(_WRITERS[language](_template(given, language)))


def _template(given: Params, language: TemplateFormat) -> Template:
    request = options.request(given, lambda: given["subscription_id"] or _ANY)
    _check(request, given, language)
    _, _, subscription, _, group, *_, name = request.identity_resource_id.split("/")
    issuer = request.service_account_issuer_url or _issuer_of_cluster(given)
    try:
        discovery.checked(issuer)
    except CommandError as error:
        raise UsageError(f"--service-account-issuer-url: {error.message}", error.hint) from error
    audience = target(given).cloud(os.environ).audience
    return Template(
        replace(request.trust, issuer=issuer, audience=audience),
        "" if subscription == _ANY else subscription,
        group,
        name,
        request.identity_location,
        request.token_expiration,
        request.label,
        request.azure_role,
        checked_scope(request.azure_scope) if request.azure_scope else "",
    )


def _check(request: Request, given: Params, language: TemplateFormat) -> None:
    if not request.service_account_name:
        raise UsageError("--service-account-name is required", "the ServiceAccount's name in the cluster")
    if not request.uses_identity:
        raise UsageError(
            f"-o {language} is for a managed identity, and none is named",
            "give --identity-name and --identity-resource-group, and --identity-location to create it",
        )
    if language is TemplateFormat.ASO and not request.identity_location:
        raise UsageError("-o aso needs --identity-location", "the operator creates the identity there")
    if bool(request.azure_role) != bool(request.azure_scope):
        raise UsageError("--azure-role and --azure-scope go together", "both say which role is given where")
    if request.wants_role and language is not TemplateFormat.TERRAFORM:
        raise UsageError(
            f"-o {language} prints no role assignment", "leave --azure-role and --azure-scope out, or use -o terraform"
        )
    if given["skip_phases"]:
        raise UsageError(f"--skip-phases does not go with -o {language}", "it prints the whole identity: remove a part")


def _issuer_of_cluster(given: Params) -> str:
    with output.progress("reading the cluster's issuer"):
        return str(Cluster.connect(options.cluster_target(given)).get(discovery.CONFIGURATION_PATH).get("issuer") or "")
