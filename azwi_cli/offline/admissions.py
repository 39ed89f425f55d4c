"""Admissions of manifests by the webhook's own code: no server, and a cluster only where one is asked for."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import jsonpatch

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.console.errors import CommandError
from azwi_cli.offline import manifests
from azwi_cli.offline.manifests import PodTemplate
from webhook.accounts.files import accounts_in
from webhook.admission.admit import FindAccount, admit
from webhook.admission.identity import Account
from webhook.admission.policy import Policy
from webhook.admission.review import AdmissionOutcome, BrokenReviewError, Review, pod_creation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Admission:
    """What becomes of the pods of one workload."""

    template: PodTemplate
    outcome: AdmissionOutcome

    def document(self) -> JsonObject:
        """As machines get it."""
        outcome = self.outcome
        return {
            "kind": self.template.kind,
            "namespace": self.template.namespace,
            "name": self.template.name,
            "serviceAccount": outcome.service_account,
            "decision": str(outcome.decision),
            "reason": str(outcome.reason),
            "message": outcome.message,
            "warnings": [{"code": str(warning.code), "text": warning.text} for warning in outcome.warnings],
        }


@dataclass(frozen=True, slots=True)
class MutatedDocument:
    """A document before and after, the operations (RFC 6902) between, and the admissions of its workloads."""

    before: JsonObject = field(repr=False)
    after: JsonObject = field(repr=False)
    operations: Sequence[JsonObject] = field(repr=False)
    admissions: Sequence[Admission]


@dataclass(frozen=True, slots=True)
class AdmissionContext:
    """What a pod meets in a cluster: its account, the labels of its namespace, the webhook's settings."""

    find: FindAccount
    namespace_labelled: Callable[[str], bool]
    policy: Policy
    namespace: str = "default"


def mutate(document: JsonObject, context: AdmissionContext) -> MutatedDocument:
    """Admit the pod of every workload in a document, as the server would when it is created.

    Raises:
        CommandError: when a workload has no pod, or a namespace that cannot be one.
    """
    admissions = [
        Admission(each, _admitted(each, context)) for each in manifests.pod_templates(document, context.namespace)
    ]
    operations = [
        {**operation, "path": admission.template.pointer + operation["path"]}
        for admission in admissions
        for operation in admission.outcome.operations
    ]
    return MutatedDocument(document, jsonpatch.apply_patch(document, operations), operations, admissions)


def _admitted(template: PodTemplate, context: AdmissionContext) -> AdmissionOutcome:
    try:
        review = Review.parse(pod_creation(template.pod, template.namespace, "offline"))
    except BrokenReviewError as error:
        raise CommandError(f"{template}: {error.message}") from error
    labelled = context.namespace_labelled(template.namespace)
    return _finished(admit(review, context.find, context.policy, namespace_labelled=labelled))


def _finished(coroutine: Coroutine[object, object, T]) -> T:
    """Run a coroutine that never waits: admission waits for accounts only, and these are at hand."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    raise AssertionError("an account was waited for")  # pragma: no cover  find is ours


def admission_context(
    documents: Sequence[JsonObject], policy: Policy, namespace: str, cluster: Cluster | None
) -> AdmissionContext:
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

    return AdmissionContext(find, labelled, policy, namespace)
