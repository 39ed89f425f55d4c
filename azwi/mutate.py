"""`azwi mutate`: what the webhook would make of manifests, by the webhook's own code and without a cluster."""

import json
import sys
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

import click
import jsonpatch

from azwi import kube, manifests, output
from azwi import policy as policies
from azwi.errors import CommandError
from azwi.kube import Cluster, Target
from azwi.manifests import Map, Workload
from azwi.output import Form
from webhook import marking, names
from webhook.accounts.files import accounts_in
from webhook.admission.admit import FindAccount, admit
from webhook.admission.identity import Account
from webhook.admission.policy import Policy
from webhook.admission.reasons import Reason
from webhook.admission.review import BrokenReviewError, Operation, Outcome, Review, Verdict

T = TypeVar("T")


class Show(StrEnum):
    """What is printed: the manifests with what is injected, in two forms, as patches, marked; or the decisions."""

    YAML = "yaml"
    JSON = "json"
    PATCH = "patch"
    DIFF = "diff"
    TABLE = "table"


DECISIONS: Final = {Show.TABLE: Form.TABLE, Show.YAML: Form.YAML, Show.JSON: Form.JSON}

_HINTS: Final = {
    Reason.SERVICE_ACCOUNT_NOT_FOUND: "give its manifest with --service-account, or --from-cluster to look there",
}


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of the pods of one workload."""

    workload: Workload
    outcome: Outcome

    def document(self) -> Map:
        """As machines get it."""
        outcome = self.outcome
        return {
            "kind": self.workload.kind,
            "namespace": self.workload.namespace,
            "name": self.workload.name,
            "serviceAccount": outcome.service_account,
            "decision": str(outcome.verdict),
            "reason": str(outcome.reason),
            "message": outcome.message,
            "warnings": [{"code": str(warning.code), "text": warning.text} for warning in outcome.warnings],
        }


@dataclass(frozen=True, slots=True)
class Mutated:
    """A document before and after, the operations (RFC 6902) between, and the admissions of its workloads."""

    before: Map = field(repr=False)
    after: Map = field(repr=False)
    operations: Sequence[Operation] = field(repr=False)
    admissions: Sequence[Admission]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a pod meets in a cluster: its account, the labels of its namespace, the webhook's settings."""

    find: FindAccount
    namespace_labelled: Callable[[str], bool]
    policy: Policy
    namespace: str = "default"


def mutate(document: Map, around: Surroundings) -> Mutated:
    """Admit the pod of every workload in a document, as the server would when it is created.

    Raises:
        CommandError: when a workload has no pod, or a namespace that cannot be one.
    """
    admissions = [Admission(each, _admitted(each, around)) for each in manifests.workloads(document, around.namespace)]
    operations = [
        {**operation, "path": admission.workload.pointer + operation["path"]}
        for admission in admissions
        for operation in admission.outcome.operations
    ]
    return Mutated(document, jsonpatch.apply_patch(document, operations), operations, admissions)


def _admitted(workload: Workload, around: Surroundings) -> Outcome:
    envelope = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "offline",
            "operation": "CREATE",
            "namespace": workload.namespace,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": workload.pod,
        },
    }
    try:
        review = Review.parse(envelope)
    except BrokenReviewError as error:
        raise CommandError(f"{workload}: {error.message}") from error
    labelled = around.namespace_labelled(workload.namespace)
    return _finished(admit(review, around.find, around.policy, namespace_labelled=labelled))


def _finished(coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine that never waits: admission waits for accounts only, and these are at hand."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("an account was waited for")  # pragma: no cover  find is ours


def surroundings(documents: Sequence[Map], policy: Policy, namespace: str, cluster: Cluster | None) -> Surroundings:
    """ServiceAccounts and Namespaces of the documents, then of the cluster if there is one.

    Every namespace has an account `default`, so that one is never missing.
    """
    accounts = accounts_in(documents, namespace)
    labels = {
        manifest["metadata"].get("name"): manifest["metadata"].get("labels")
        for document in documents
        for _, manifest in manifests.objects(document)
        if manifest.get("kind") == "Namespace" and isinstance(manifest.get("metadata"), dict)
    }

    async def find(in_namespace: str, name: str) -> Account | None:
        found = accounts.get((in_namespace, name))
        if found is None and cluster is not None:
            stored = cluster.find(kube.path("v1", "serviceaccounts", in_namespace, name))
            found = Account.from_metadata(stored["metadata"]) if stored else None
        return found or (Account() if name == "default" else None)

    def labelled(name: str) -> bool:
        if name not in labels and cluster is not None:
            stored = cluster.find(kube.path("v1", "namespaces", name=name)) or {"metadata": {}}
            labels[name] = stored["metadata"].get("labels")
        found = labels.get(name)
        return isinstance(found, dict) and found.get(names.USE_LABEL) == "true"

    return Surroundings(find, labelled, policy, namespace)


def shown(results: Sequence[Mutated], show: Show, *, colour: bool = False) -> str:
    """The documents, patches or marked manifests; a single document's stands alone, several make a list."""
    if show is Show.PATCH:
        patches: list[object] = [list(result.operations) for result in results]
        return json.dumps(patches[0] if len(patches) == 1 else patches, indent=2) + "\n"
    if show is Show.JSON:
        every = [result.after for result in results]
        whole = every[0] if len(every) == 1 else {"apiVersion": "v1", "kind": "List", "items": every}
        return json.dumps(whole, indent=2) + "\n"
    if show is Show.DIFF:
        return "\n---\n".join(marking.rendered(each.before, each.after, colour=colour) for each in results) + "\n"
    return output.as_documents(result.after for result in results)


def decisions(admissions: Sequence[Admission]) -> str:
    """The decisions for people: a line each, and below what is to be said of it."""
    rows = [
        [str(each.workload), each.outcome.service_account, each.outcome.verdict, each.outcome.reason]
        for each in admissions
    ]
    lines = output.table(["workload", "service account", "decision", "reason"], rows).splitlines()
    told = [lines[0]]
    for line, each in zip(lines[1:], admissions, strict=True):
        told.append(line)
        told += [f"  {output.printable(text)}" for text in _remarks(each.outcome)]
    return "\n".join(told)


def _remarks(outcome: Outcome) -> list[str]:
    warnings = [f"warning: {warning.text} ({warning.code})" for warning in outcome.warnings]
    return [f"refused: {outcome.message}", *warnings] if outcome.message else warnings


@click.command("mutate", short_help="Show what the webhook would make of manifests, without a cluster.")
@click.option(
    "--filename",
    "-f",
    "files",
    multiple=True,
    required=True,
    help="Manifests: a file, a directory, or - for stdin. Repeatable.",
)
@click.option(
    "--service-account",
    "service_accounts",
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
    type=click.Choice([*Show], case_sensitive=False),
    help="Manifests as yaml (default) or json, their patch (RFC 6902), or a diff; with --explain table, json or yaml.",
)
@kube.options
@policies.options
def command(  # noqa: PLR0913  one parameter a flag
    *,
    files: Sequence[str],
    service_accounts: Sequence[str],
    from_cluster: bool,
    explain: bool,
    strict: bool,
    show: Show | None,
    kubeconfig: str,
    context: str,
    namespace: str,
    **settings: Any,  # noqa: ANN401  click's
) -> None:
    """Show what the webhook would make of the pods in manifests, by the same code and without a cluster.

    Every kind of workload is understood, in lists and several documents too; ServiceAccounts and Namespaces among the
    manifests count. What is refused ends with exit status 1 and prints no manifest, so a build can fail on it.

    \b
    azwi mutate -f deployment.yaml --service-account account.yaml -o diff
    helm template chart | azwi mutate -f - --strict --explain
    """  # noqa: D301  click reads the mark as: do not wrap
    wanted = show or (Show.TABLE if explain else Show.YAML)
    if explain and wanted not in DECISIONS:
        raise click.UsageError(f"--explain prints table, json or yaml, not {wanted}")
    policy = policies.build(settings)
    documents = manifests.read(files)
    cluster = Cluster.connect(Target(kubeconfig, context, namespace)) if from_cluster else None
    default = namespace or (cluster.namespace if cluster else "default")
    around = surroundings([*documents, *manifests.read(service_accounts)], policy, default, cluster)
    results = [mutate(document, around) for document in documents]
    admissions = [admission for result in results for admission in result.admissions]
    refused = [each for each in admissions if each.outcome.verdict is Verdict.REFUSE]
    if explain or wanted is Show.TABLE:
        output.write([each.document() for each in admissions], DECISIONS[wanted], lambda: decisions(admissions))
    else:
        _tell(admissions)
        if not refused:
            click.echo(shown(results, wanted, colour=output.coloured(sys.stdout)), nl=False)
    _judge(admissions, refused, strict=strict)


def _tell(admissions: Sequence[Admission]) -> None:
    for admission in admissions:
        for warning in admission.outcome.warnings:
            output.warn(f"{admission.workload}: {warning.text} ({warning.code})")


def _judge(admissions: Sequence[Admission], refused: Sequence[Admission], *, strict: bool) -> None:
    if refused:
        first = refused[0]
        more = f", and {len(refused) - 1} more refused" if len(refused) > 1 else ""
        message = f"{first.workload}: {first.outcome.message} ({first.outcome.reason}){more}"
        raise CommandError(output.printable(message), _HINTS.get(first.outcome.reason, ""))
    warned = sum(len(each.outcome.warnings) for each in admissions)
    if strict and warned:
        raise CommandError(f"{warned} warnings, and --strict was given")
