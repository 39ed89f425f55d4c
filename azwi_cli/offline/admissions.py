"""Admissions of manifests by the webhook's own code: no server, and a cluster only where one is asked for."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import jsonpatch

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import Cluster
from azwi_cli.console.errors import CommandError
from azwi_cli.offline import bindings, templates
from azwi_cli.offline.bindings import BindingReport
from azwi_cli.offline.engines import EngineContext, EngineReport
from azwi_cli.offline.limit_problem import LimitProblem
from azwi_cli.offline.limits import NamespaceLimits, problems
from azwi_cli.offline.namespaces import Namespaces
from azwi_cli.offline.policy import UNKNOWN_TENANT
from azwi_cli.offline.templates import PodTemplate
from webhook.accounts.files import accounts_in
from webhook.admission.admit import FindAccount, admit
from webhook.admission.identity import Account
from webhook.admission.policy import Policy
from webhook.admission.review import AdmissionOutcome, BrokenReviewError, Review, pod_creation


@dataclass(frozen=True, slots=True)
class Admission:
    """The decision about the pods of one template; `engine` says who makes it, where it may not be the webhook.

    `binding` is their identity binding, if they have one.
    """

    template: PodTemplate
    outcome: AdmissionOutcome
    limit_problems: Sequence[LimitProblem] = ()
    engine: EngineReport | None = None
    binding: BindingReport | None = None

    def document(self) -> JsonObject:
        """The decision for machines."""
        outcome = self.outcome
        return {
            "kind": self.template.kind,
            "namespace": self.template.namespace,
            "name": self.template.name,
            **({"template": self.template.part} if self.template.part else {}),
            "serviceAccount": outcome.service_account,
            "decision": str(outcome.decision),
            "reason": str(outcome.reason),
            "message": outcome.message,
            "warnings": [{"code": str(warning.code), "text": warning.text} for warning in outcome.warnings],
            **({"limits": [str(problem) for problem in self.limit_problems]} if self.limit_problems else {}),
            **({"binding": self.binding.document()} if self.binding else {}),
            **({"engine": self.engine.document()} if self.engine else {}),
            **({"assumption": self.template.assumption} if self.template.assumption else {}),
        }

    def has_unknown_tenant(self) -> bool:
        """Whether the pod is given the tenant that stands for an unknown one."""
        return UNKNOWN_TENANT in json.dumps(self.outcome.operations)

    def pod(self) -> JsonObject:
        """The pod with what is injected."""
        return _patched(self.template.pod, self.outcome.operations)


@dataclass(frozen=True, slots=True)
class MutatedDocument:
    """A document, the operations (RFC 6902) on it, and the admissions of its templates.

    `unread` names the objects that may lead to pods but have no template.
    """

    before: JsonObject = field(repr=False)
    operations: Sequence[JsonObject] = field(repr=False)
    admissions: Sequence[Admission]
    unread: Sequence[str] = ()

    def after(self) -> JsonObject:
        """The document with what is injected."""
        return _patched(self.before, self.operations)


@dataclass(frozen=True, slots=True)
class AdmissionContext:
    """What an admission depends on: ServiceAccounts, namespaces, the webhook's settings.

    `new_accounts` are those that are created together with the pods, by namespace and name. `unread` has a sentence for
    each namespace whose limits the cluster did not show.
    """

    find: FindAccount
    namespace_labelled: Callable[[str], bool]
    policy: Policy
    namespace: str = "default"
    ignored_kinds: frozenset[str] = frozenset()
    engine: EngineContext | None = None
    new_accounts: frozenset[tuple[str, str]] = frozenset()
    limits: Callable[[str], NamespaceLimits] = lambda _: NamespaceLimits()
    unread: Mapping[str, str] = field(default_factory=dict)


def mutate(document: JsonObject, context: AdmissionContext) -> MutatedDocument:
    """Admit the pod of every template in a document, as the server would when it is created.

    Raises:
        CommandError: when an object has no pod where it should, or its namespace has an impossible name.
    """
    found = templates.search(document, context.namespace, context.ignored_kinds)
    admissions = [_admission(template, context) for template in found.templates]
    operations = [
        {**operation, "path": admission.template.pointer + operation["path"]}
        for admission in admissions
        if admission.template.pointer is not None
        for operation in admission.outcome.operations
    ]
    return MutatedDocument(document, operations, admissions, found.unread)


def _patched(value: JsonObject, operations: Sequence[JsonObject]) -> JsonObject:
    patched: JsonObject = jsonpatch.apply_patch(value, list(operations)) if operations else value
    return patched


def _admission(template: PodTemplate, context: AdmissionContext) -> Admission:
    outcome = _admitted(template, context)
    binding = bindings.report(template.pod, outcome, context.policy)
    admission = Admission(template, outcome, engine=_engine(template, outcome, context), binding=binding)
    if not (_asks_for_proxy(template) and admission.outcome.operations):
        return admission
    limits = context.limits(template.namespace)
    if not limits:
        return admission
    return replace(admission, limit_problems=problems(template.pod, admission.pod(), limits))


def _engine(template: PodTemplate, outcome: AdmissionOutcome, context: AdmissionContext) -> EngineReport | None:
    if context.engine is None:
        return None
    key = template.namespace, outcome.service_account
    account = context.find(*key) if outcome.service_account else None
    return context.engine.report(template.pod, outcome, account, new=key in context.new_accounts)


def _asks_for_proxy(template: PodTemplate) -> bool:
    metadata = template.pod.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    return isinstance(annotations, dict) and names.INJECT_PROXY in annotations


def _admitted(template: PodTemplate, context: AdmissionContext) -> AdmissionOutcome:
    try:
        review = Review.parse(pod_creation(template.pod, template.namespace, "offline"))
    except BrokenReviewError as error:
        raise CommandError(f"{template}: {error.message}") from error
    labelled = context.namespace_labelled(template.namespace)
    return admit(review, context.find, context.policy, namespace_labelled=labelled)


def admission_context(
    documents: Sequence[JsonObject], policy: Policy, namespace: str, cluster: Cluster | None
) -> AdmissionContext:
    """ServiceAccounts and Namespaces of the documents, then of the cluster if there is one.

    Every namespace has an account `default`, so that one is never missing.

    Raises:
        CommandError: when a ServiceAccount is not as an API server takes it.
    """
    try:
        accounts: dict[tuple[str, str], Account | None] = {**accounts_in(documents, namespace)}
    except ValueError as error:
        raise CommandError(str(error)) from error

    def find(in_namespace: str, name: str) -> Account | None:
        key = in_namespace, name
        if key not in accounts and cluster is not None:
            stored = cluster.find(kube.path("v1", "serviceaccounts", in_namespace, name))
            accounts[key] = Account.from_metadata(stored["metadata"]) if stored else None
        return accounts.get(key) or (Account() if name == "default" else None)

    state = Namespaces(documents, namespace, cluster)
    return AdmissionContext(find, state.opted_in, policy, namespace, limits=state.limits, unread=state.unread)
