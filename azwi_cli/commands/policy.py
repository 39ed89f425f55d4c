"""`azwi policy`: the admission policies that inject identities without a webhook, as manifests."""

# ruff: noqa: PLC0415  help texts and completion do without the policies

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from azure_workload_identity import names
from azure_workload_identity.kube_yaml import reader
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.console.output import OutputFormat
from azwi_cli.offline import mapping
from azwi_cli.offline import policy as policies
from azwi_cli.offline.policy import UNKNOWN_TENANT

if TYPE_CHECKING:
    from webhook.admission.policy import Policy

GUARDS: Final = ("deny", "warn", "off")
API_VERSIONS: Final = ("v1", "v1beta1")
NAMESPACE_NAME: Final = "kubernetes.io/metadata.name"
# https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set
_PART: Final = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL: Final = re.compile(rf"(?P<key>([a-z0-9.-]{{1,253}}/)?{_PART})=(?P<value>({_PART})?)", re.ASCII)


def _selector(_: click.Context, __: click.Parameter, text: str) -> Mapping[str, object]:
    """The LabelSelector of a comma list of KEY=VALUE; empty for an empty list."""
    labels = {}
    for part in filter(None, map(str.strip, text.split(","))):
        label = _LABEL.fullmatch(part)
        if label is None:
            raise click.BadParameter(f"{part!a} is not a label KEY=VALUE such as {names.USE_LABEL}=true")
        labels[label["key"]] = label["value"]
    return {"matchLabels": labels} if labels else {}


def _complete_selector(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [label for label in (f"{names.USE_LABEL}=true",) if label.startswith(incomplete)]


def _refuse_configmap(_: click.Context, __: click.Parameter, value: str) -> None:
    if value:
        raise click.BadParameter(
            "a policy reads only the pod's ServiceAccount, no ConfigMap: give the mapping's file or the ConfigMap's "
            "manifest with --identity-mapping, and apply the policies again when it changes; or use the engine both"
        )


@click.command("policy")
@click.option(
    "--name",
    default="azwi",
    show_default=True,
    metavar="NAME",
    callback=cluster_flags.checked_name,
    help="What the names of all policies and bindings begin with.",
)
@click.option(
    "--guard",
    type=click.Choice(GUARDS),
    default="deny",
    show_default=True,
    help="A pod that opts in by a label and ends without its token is refused, warned of, or admitted.",
)
@click.option(
    "--failure-policy",
    type=click.Choice(["Fail", "Ignore"]),
    default="Fail",
    show_default=True,
    help="What the API server does with a pod for which it cannot evaluate a policy.",
)
@click.option(
    "--account-selector",
    default="",
    metavar="KEY=VALUE,...",
    callback=_selector,
    shell_complete=_complete_selector,
    help="Only ServiceAccounts with these labels count; default: all of the pod's namespace.",
)
@click.option(
    "--exclude-namespace",
    "excluded",
    multiple=True,
    default=["kube-system"],
    show_default="kube-system",
    metavar="NAME",
    help="A namespace whose pods are left alone. Repeatable; '' for none.",
)
@click.option(
    "--api-version",
    type=click.Choice(API_VERSIONS),
    default="v1",
    show_default=True,
    help="Version of MutatingAdmissionPolicy: v1 from Kubernetes 1.36 on; v1beta1 in 1.35, where it "
    "must be switched on.",
)
@click.option(
    "--output",
    "-o",
    "output_format",
    default=OutputFormat.YAML,
    show_default=True,
    type=click.Choice([OutputFormat.YAML, OutputFormat.JSON], case_sensitive=False),
    help="YAML documents with a comment on each expression, or a JSON list.",
)
@click.option(
    "--identity-mapping",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="As the server's: YAML file that maps namespaces and accounts to identities; or a ConfigMap's manifest.",
)
@click.option("--identity-mapping-configmap", hidden=True, default="", expose_value=False, callback=_refuse_configmap)
@policies.options
def command(  # noqa: PLR0913  one parameter a flag
    *,
    name: str,
    guard: str,
    failure_policy: str,
    account_selector: Mapping[str, object],
    excluded: Sequence[str],
    api_version: str,
    output_format: OutputFormat,
    identity_mapping: Path | None,
    **settings: Any,  # noqa: ANN401  click's
) -> None:
    """Print the admission policies by which the API server injects identities itself, without a webhook.

    They are those of the chart with engine=policy. The settings are the webhook's flags and variables, such as
    AZURE_ENVIRONMENT and PROXY_IMAGE. What a policy cannot express is refused. Needs no cluster.

    \b
    azwi policy --tenant-id 5f6d5e7c-0d3c-4c8e-9b56-1c1d4f0c7a11 > policies.yaml
    azwi policy --tenant-id contoso.com --account-selector azure.workload.identity/use=true -o json
    """  # noqa: D301  click reads the mark as: do not wrap
    from webhook.admission_policy.manifests import Guard, Installation, documents

    installation = Installation(
        name=name or "azwi",
        version=api_version,
        failure_policy=failure_policy,
        guard=Guard(guard),
        account_selector=account_selector,
        namespace_selector=_others(list(filter(None, excluded))),
    )
    text = documents(_policy(settings, identity_mapping), installation)
    click.echo(
        output.as_text(_listed(text), output_format, str) if output_format is OutputFormat.JSON else text,
        nl=output_format is OutputFormat.JSON,
    )


def _policy(settings: Mapping[str, Any], identity_mapping: Path | None) -> "Policy":
    """The settings, if policies can express them.

    Raises:
        CommandError: when they cannot, or the mapping has an entry that cannot be used.
        UsageError: when there is no tenant.
    """
    from webhook.admission_policy.limits import too_long

    policy = policies.build(settings)
    if policy.identity.tenant_id == UNKNOWN_TENANT:
        raise UsageError("the tenant is not known", "give it with --tenant-id or AZURE_TENANT_ID")
    loaded = mapping.read(identity_mapping, "", (), None)
    if loaded.faults:
        raise CommandError(loaded.faults[0], "correct the entry, or remove it")
    policy = replace(policy, mapping=loaded.mapping)
    if problems := [*too_long(policy)]:
        raise CommandError(problems[0], "or use the engine webhook or both, whose server reads the mapping")
    return policy


def _others(excluded: Sequence[str]) -> Mapping[str, object]:
    """The LabelSelector of all other namespaces."""
    if not excluded:
        return {}
    return {"matchExpressions": [{"key": NAMESPACE_NAME, "operator": "NotIn", "values": [*excluded]}]}


def _listed(text: str) -> Mapping[str, object]:
    items = [document.value for document in reader.read(text.encode(), "the policies")]
    return {"apiVersion": "v1", "kind": "List", "items": items}
