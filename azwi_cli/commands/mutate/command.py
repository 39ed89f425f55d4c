"""The command: its flags, its steps, and its exit status."""

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import options as cluster_flags
from azwi_cli.cluster.kube import Cluster, ClusterTarget
from azwi_cli.commands.mutate import report
from azwi_cli.commands.mutate.report import DECISION_FORMATS, MutateOutput
from azwi_cli.console import output, terminal
from azwi_cli.console.errors import CommandError, UsageError
from azwi_cli.offline import manifests, mapping
from azwi_cli.offline import policy as policies
from azwi_cli.offline.admissions import (
    Admission,
    AdmissionContext,
    MutatedDocument,
    admission_context,
    mutate,
)
from azwi_cli.offline.engines import Engine, EngineContext
from azwi_cli.offline.policy import UNKNOWN_TENANT
from webhook.accounts.files import accounts_in
from webhook.admission.policy import Policy
from webhook.admission.reasons import Reason
from webhook.admission.review import Decision
from webhook.admission_policy.limits import too_long

# What to do where no cluster was asked.
_HINTS: Final = {
    Reason.SERVICE_ACCOUNT_NOT_FOUND: "give its manifest with --service-account, or --from-cluster to look there",
}
_PROGRESS_STEP: Final = 50


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
    "--ignore-kind",
    "ignored_kinds",
    metavar="KIND",
    multiple=True,
    help="A kind without a pod template that need not be warned of. Repeatable.",
)
@click.option(
    "--engine",
    type=click.Choice([*Engine], case_sensitive=False),
    default=Engine.WEBHOOK,
    show_default=True,
    help="What injects: with policy or both, print who decides about each pod and what differs from the webhook's "
    "decision (implies --explain).",
)
@click.option(
    "--output",
    "-o",
    "form",
    type=click.Choice([*MutateOutput], case_sensitive=False),
    help="Manifests as yaml (default) or json, their patch (RFC 6902), or a diff; with --explain table, json or yaml.",
)
@mapping.options
@cluster_flags.options
@policies.options
def command(  # noqa: PLR0913  one parameter a flag
    *,
    files: Sequence[str],
    service_accounts: Sequence[str],
    from_cluster: bool,
    explain: bool,
    strict: bool,
    ignored_kinds: Sequence[str],
    engine: Engine,
    form: MutateOutput | None,
    identity_mapping: Path | None,
    identity_mapping_configmap: str,
    kubeconfig: str,
    context: str,
    namespace: str,
    **settings: Any,  # noqa: ANN401  click's
) -> None:
    """Show what the webhook would make of the pods in manifests, by the same code and without a cluster.

    Pod templates are found in objects of any kind, in lists and in several documents. ServiceAccounts and Namespaces
    among the manifests count, and so do the server's variables, such as AZURE_ENVIRONMENT and PROXY_IMAGE. A refusal
    ends with exit status 1 and prints no manifest, so a build can fail on it.

    \b
    azwi mutate -f deployment.yaml --service-account account.yaml -o diff
    helm template chart | azwi mutate -f - --strict --explain
    helm template chart | azwi mutate -f - --engine policy
    """  # noqa: D301  click reads the mark as: do not wrap
    explain = explain or engine is not Engine.WEBHOOK
    form = _form(form, explain=explain)
    policy = policies.build(settings)
    with output.progress("reading manifests") as progress, _collector_paused():
        read = _read(files)
        known = [*read.objects, *manifests.read(service_accounts).objects]
        cluster = Cluster.connect(ClusterTarget(kubeconfig, context, namespace)) if from_cluster else None
        default = namespace or (cluster.namespace if cluster else "default")
        loaded = mapping.read(identity_mapping, identity_mapping_configmap, known, cluster)
        policy = replace(policy, mapping=loaded.mapping)
        offline = replace(admission_context(known, policy, default, cluster), ignored_kinds=frozenset(ignored_kinds))
        if engine is not Engine.WEBHOOK:
            offline = _of_engine(offline, engine, read.objects, in_configmap=bool(identity_mapping_configmap))
        results = _admit(read.objects, offline, progress)
        admissions = [admission for result in results for admission in result.admissions]
        refused = [admission for admission in admissions if admission.outcome.decision is Decision.REFUSE]
        progress.update("writing")
        explain = explain or form is MutateOutput.TABLE
        text = _explanation(admissions, form) if explain else "" if refused else _manifests(results, form)
    in_general = [*read.skipped, *loaded.faults, *_unread(results), *_unknown_tenant(policy, admissions)]
    in_general += offline.unread.values()
    of_pods = _pod_warnings(admissions)
    for warning in in_general if explain else [*in_general, *of_pods]:
        output.warn(warning)
    click.echo(text, nl=not text.endswith("\n") and bool(text))
    _end(refused, len(in_general) + len(of_pods) if strict else 0, asked_cluster=from_cluster)


def _of_engine(
    context: AdmissionContext, engine: Engine, documents: Sequence[JsonObject], *, in_configmap: bool
) -> AdmissionContext:
    """The context with an engine that has policies.

    Raises:
        CommandError: when policies cannot express a setting.
    """
    if engine is Engine.POLICY and in_configmap:
        raise UsageError(
            "policies cannot read an identity mapping in a ConfigMap",
            "give its file or manifest with --identity-mapping, or use --engine both",
        )
    for problem in too_long(context.policy):
        raise CommandError(problem, "or use --engine webhook")
    new = frozenset(accounts_in(documents, context.namespace))
    return replace(context, engine=EngineContext(engine, in_configmap), new_accounts=new)


def _form(form: MutateOutput | None, *, explain: bool) -> MutateOutput:
    form = form or (MutateOutput.TABLE if explain else MutateOutput.YAML)
    if explain and form not in DECISION_FORMATS:
        raise click.UsageError(f"--explain prints table, json or yaml, not {form}")
    return form


def _end(refused: Sequence[Admission], warnings: int, *, asked_cluster: bool) -> None:
    """Raise the CommandError of a refusal, or of warnings that --strict counts."""
    if refused:
        raise _refusal(refused, asked_cluster=asked_cluster)
    if warnings:
        raise CommandError(f"{warnings} {'warning' if warnings == 1 else 'warnings'}, and --strict was given")


def _manifests(results: Sequence[MutatedDocument], form: MutateOutput) -> str:
    return report.manifests(results, form, colour=terminal.coloured(sys.stdout))


def _read(files: Sequence[str]) -> manifests.Manifests:
    read = manifests.read(files)
    if not read.objects:
        raise CommandError(f"there are no manifests in {', '.join(files)}", "did the command that writes them fail?")
    return read


def _explanation(admissions: Sequence[Admission], form: MutateOutput) -> str:
    decisions = [admission.document() for admission in admissions]
    return output.as_text(decisions, DECISION_FORMATS[form], lambda: report.decisions(admissions)).rstrip() + "\n"


def _pod_warnings(admissions: Iterable[Admission]) -> list[str]:
    return [
        f"{admission.template}: {text}"
        for admission in admissions
        for text in [
            *map(str, admission.limit_problems),
            *(f"{warning.text} ({warning.code})" for warning in admission.outcome.warnings),
        ]
    ]


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the collector of cycles: manifests have none, and looking for them costs a tenth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _admit(
    documents: Sequence[JsonObject], context: AdmissionContext, progress: output.Progress
) -> list[MutatedDocument]:
    results = []
    for number, document in enumerate(documents):
        if number % _PROGRESS_STEP == 0:
            progress.update(f"admitting the pods of document {number + 1} of {len(documents)}")
        results.append(mutate(document, context))
    return results


def _unread(results: Sequence[MutatedDocument]) -> Iterator[str]:
    for result in results:
        for name in result.unread:
            kind = name.split(" ", 1)[0]
            yield (
                f"{name} was not looked at: no pod template was found in it "
                f"(--ignore-kind {kind} if it leads to no pods, or to none of yours)"
            )


def _unknown_tenant(policy: Policy, admissions: Sequence[Admission]) -> Iterator[str]:
    pods = sum(map(Admission.has_unknown_tenant, admissions)) if policy.identity.tenant_id == UNKNOWN_TENANT else 0
    if pods:
        yield (
            f"the tenant is not known, and {pods} {'pod needs' if pods == 1 else 'pods need'} it: give it with "
            f"--tenant-id or AZURE_TENANT_ID; {UNKNOWN_TENANT} stands for it"
        )


def _refusal(refused: Sequence[Admission], *, asked_cluster: bool) -> CommandError:
    template, outcome = refused[0].template, refused[0].outcome
    more = f", and {len(refused) - 1} more refused" if len(refused) > 1 else ""
    hint = "" if asked_cluster else _HINTS.get(outcome.reason, "")
    return CommandError(f"{template}: {outcome.message} ({outcome.reason}){more}", hint)
