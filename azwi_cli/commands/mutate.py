"""`azwi mutate`: what the webhook would make of manifests, by the webhook's own code and without a cluster."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import click

from azure_workload_identity import marked_yaml
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.console import output
from azwi_cli.console.errors import CommandError
from azwi_cli.console.output import OutputFormat
from azwi_cli.console.printable import printable
from azwi_cli.offline import manifests, mapping
from azwi_cli.offline import policy as policies
from azwi_cli.offline.admissions import Admission, MutatedDocument, admission_context, mutate
from webhook.admission.reasons import Reason
from webhook.admission.review import AdmissionOutcome, Decision


class MutateOutput(StrEnum):
    """What is printed: the manifests with what is injected, in two forms, as patches, marked; or the decisions."""

    YAML = "yaml"
    JSON = "json"
    PATCH = "patch"
    DIFF = "diff"
    TABLE = "table"


DECISIONS: Final = {
    MutateOutput.TABLE: OutputFormat.TABLE,
    MutateOutput.YAML: OutputFormat.YAML,
    MutateOutput.JSON: OutputFormat.JSON,
}

# What to do where no cluster was asked.
_HINTS: Final = {
    Reason.SERVICE_ACCOUNT_NOT_FOUND: "give its manifest with --service-account, or --from-cluster to look there",
}


def shown(results: Sequence[MutatedDocument], show: MutateOutput, *, colour: bool = False) -> str:
    """The documents, their patches, or the documents marked; one patch stands alone, several say whose they are."""
    if show is MutateOutput.PATCH:
        alone = len(results) == 1
        patches = list(results[0].operations) if alone else [_patch(each) for each in results if each.operations]
        return json.dumps(patches, indent=2) + "\n"
    if show is MutateOutput.JSON:
        every = [result.after for result in results]
        whole = every[0] if len(every) == 1 else {"apiVersion": "v1", "kind": "List", "items": every}
        return json.dumps(whole, indent=2) + "\n"
    if show is MutateOutput.DIFF:
        return "\n---\n".join(marked_yaml.rendered(each.before, each.after, colour=colour) for each in results) + "\n"
    return output.as_documents(result.after for result in results)


def _patch(result: MutatedDocument) -> JsonObject:
    metadata = result.before.get("metadata") or {}
    named = {key: metadata[key] for key in ("namespace", "name") if key in metadata}
    return {"kind": result.before["kind"], **named, "patch": list(result.operations)}


def decisions(admissions: Sequence[Admission]) -> str:
    """The decisions for people: a line each, and below what is to be said of it."""
    rows = [
        [str(each.template), each.outcome.service_account, each.outcome.decision, each.outcome.reason]
        for each in admissions
    ]
    lines = output.table(["workload", "service account", "decision", "reason"], rows).splitlines()
    told = [lines[0]]
    for line, each in zip(lines[1:], admissions, strict=True):
        told.append(line)
        told += [f"  {printable(text)}" for text in _remarks(each.outcome)]
    return "\n".join(told)


def _remarks(outcome: AdmissionOutcome) -> list[str]:
    warnings = [f"warning: {warning.text} ({warning.code})" for warning in outcome.warnings]
    return [f"refused: {outcome.message}", *warnings] if outcome.message else warnings


@click.command("mutate")
@click.option(
    "--filename",
    "-f",
    "files",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    multiple=True,
    required=True,
    help="Manifests: a file, a directory, or - for stdin. Repeatable.",
)
@click.option(
    "--service-account",
    "service_accounts",
    metavar="FILE",
    type=click.Path(allow_dash=True),
    multiple=True,
    help="Manifests of ServiceAccounts and Namespaces that are not among them. Repeatable.",
)
@click.option("--from-cluster", is_flag=True, help="Take ServiceAccounts and Namespaces that miss from the cluster.")
@click.option("--explain", is_flag=True, help="Print the decisions, reasons and warnings instead of manifests.")
@click.option("--strict", is_flag=True, help="Exit with 1 on a warning, too.")
@click.option(
    "--output",
    "-o",
    "show",
    type=click.Choice([*MutateOutput], case_sensitive=False),
    help="Manifests as yaml (default) or json, their patch (RFC 6902), or a diff; with --explain table, json or yaml.",
)
@mapping.options
@kube.options
@policies.options
def command(  # noqa: PLR0913  one parameter a flag
    *,
    files: Sequence[str],
    service_accounts: Sequence[str],
    from_cluster: bool,
    explain: bool,
    strict: bool,
    show: MutateOutput | None,
    identity_mapping: Path | None,
    identity_mapping_configmap: str,
    kubeconfig: str,
    context: str,
    namespace: str,
    **settings: Any,  # noqa: ANN401  click's
) -> None:
    """Show what the webhook would make of the pods in manifests, by the same code and without a cluster.

    Every kind of workload is understood, in lists and several documents too. ServiceAccounts and Namespaces among the
    manifests count, and so do the server's variables, such as AZURE_ENVIRONMENT and PROXY_IMAGE. What is refused ends
    with exit status 1 and prints no manifest, so a build can fail on it.

    \b
    azwi mutate -f deployment.yaml --service-account account.yaml -o diff
    helm template chart | azwi mutate -f - --strict --explain
    """  # noqa: D301  click reads the mark as: do not wrap
    wanted = show or (MutateOutput.TABLE if explain else MutateOutput.YAML)
    if explain and wanted not in DECISIONS:
        raise click.UsageError(f"--explain prints table, json or yaml, not {wanted}")
    policy = policies.build(settings)
    documents = manifests.read(files)
    if not documents:
        raise CommandError(f"there are no manifests in {', '.join(files)}", "did what should have written them fail?")
    known = [*documents, *manifests.read(service_accounts)]
    with output.progress("reading manifests"):
        cluster = Cluster.connect(ClusterTarget(kubeconfig, context, namespace)) if from_cluster else None
        default = namespace or (cluster.namespace if cluster else "default")
        found = mapping.read(identity_mapping, identity_mapping_configmap, known, cluster)
        offline = admission_context(known, replace(policy, mapping=found.mapping), default, cluster)
        results = [mutate(document, offline) for document in documents]
    for fault in found.faults:
        output.warn(fault)
    admissions = [admission for result in results for admission in result.admissions]
    if explain or wanted is MutateOutput.TABLE:
        output.write([each.document() for each in admissions], DECISIONS[wanted], lambda: decisions(admissions))
    else:
        _tell(admissions)
        if not any(map(_is_refused, admissions)):
            click.echo(shown(results, wanted, colour=output.coloured(sys.stdout)), nl=False)
    _judge(admissions, len(found.faults), {} if from_cluster else _HINTS, strict=strict)


def _tell(admissions: Sequence[Admission]) -> None:
    for admission in admissions:
        for warning in admission.outcome.warnings:
            output.warn(f"{admission.template}: {warning.text} ({warning.code})")


def _is_refused(admission: Admission) -> bool:
    return admission.outcome.decision is Decision.REFUSE


def _judge(admissions: Sequence[Admission], faults: int, hints: Mapping[Reason, str], *, strict: bool) -> None:
    """End with 1 where something was refused, or warned of and `strict`; `faults` are warnings of no admission."""
    if refused := list(filter(_is_refused, admissions)):
        first = refused[0]
        more = f", and {len(refused) - 1} more refused" if len(refused) > 1 else ""
        message = f"{first.template}: {first.outcome.message} ({first.outcome.reason}){more}"
        raise CommandError(message, hints.get(first.outcome.reason, ""))
    warned = faults + sum(len(each.outcome.warnings) for each in admissions)
    if strict and warned:
        raise CommandError(f"{warned} {'warning' if warned == 1 else 'warnings'}, and --strict was given")
