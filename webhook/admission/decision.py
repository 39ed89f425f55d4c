"""Whether a pod is mutated, skipped or refused, and the warnings for its author."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from azure_workload_identity import names
from webhook.admission import proxy, values
from webhook.admission.annotations import PodAnnotations
from webhook.admission.conflicts import proxy_conflicts
from webhook.admission.identity import Account, Identity, account_warnings, resolve
from webhook.admission.misspellings import unrecognized_keys
from webhook.admission.pod import Pod
from webhook.admission.policy import CustomEndpoint, OptIn, Policy
from webhook.admission.proxy import ProxyPlan
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted
from webhook.admission.review import Review

# The label's key as an annotation has a warning of its own, and does no harm where the label is there too.
POD_KEYS: Final = names.POD_ANNOTATIONS | {names.USE_LABEL}
# More than the API server can store: etcd takes 1.5 MiB, and a container with the identity needs 350 bytes or more. Of
# pods with the usual variables those of up to 2,853 containers were stored.
MAX_INJECTED_CONTAINERS: Final = 3_000
_POD_LABELS: Final = frozenset({names.USE_LABEL})


@dataclass(frozen=True, slots=True)
class Injection:
    """What a pod gets: this identity, in the containers of these names, with this proxy and endpoint if any.

    `second_audience` is the audience of the second token, empty for none.
    """

    identity: Identity
    containers: frozenset[str]
    proxy: ProxyPlan | None
    endpoint: CustomEndpoint | None
    second_audience: str
    warnings: tuple[AdmissionWarning, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """The pod is admitted as it is."""

    reason: Reason
    warnings: tuple[AdmissionWarning, ...] = ()


def out_of_scope(review: Review) -> Skip | None:
    """Skip what is not the creation of a pod."""
    if not review.is_pod:
        return Skip(Reason.NOT_A_POD)
    if review.operation != "CREATE":
        return Skip(Reason.NOT_CREATE)
    return None


def is_opted_out(pod: Pod) -> bool:
    """Whether the pod's own label opts it out."""
    return values.boolean(pod.labels.get(names.USE_LABEL, "")) is False


def opted_in(pod: Pod, policy: Policy, *, namespace_labelled: bool) -> bool | None:
    """Whether the pod takes part, by its own labels and its namespace's; None: its ServiceAccount decides."""
    if is_opted_out(pod):
        return False
    if pod.labels.get(names.USE_LABEL) == "true" and OptIn.POD_LABEL in policy.opt_in:
        return True
    if namespace_labelled and OptIn.NAMESPACE_LABEL in policy.opt_in:
        return True
    return None if OptIn.SERVICE_ACCOUNT in policy.opt_in else False


def decide(
    pod: Pod, namespace: str, account: Account | None, policy: Policy, *, opted_in: bool | None
) -> Injection | Skip:
    """Decide about a pod; `account` is its ServiceAccount, None where there is none; for `opted_in` see above.

    Raises:
        Refusal: when the pod takes part and something that it or its account asks for cannot be done.
    """
    if opted_in is False:
        return _not_opted_in(pod, account, policy)
    mapped = policy.mapping.find(namespace, pod.service_account)
    if opted_in is None and not (account and (account.client_id or mapped)):
        return _not_opted_in(pod, account, policy)
    if account is None:
        raise Refusal(
            Reason.SERVICE_ACCOUNT_NOT_FOUND,
            f'serviceaccounts "{pod.service_account}" not found in namespace {namespace}: create it before the pod',
        )
    requested = PodAnnotations.parse(pod, policy.custom_endpoint)
    plan = proxy.plan(requested.proxy, pod, policy.proxy)
    identity = resolve(
        pod.service_account, account, mapped, policy.identity, token_expiration=requested.token_expiration
    )
    proxy.check_first_identity(plan, identity.client_id, pod.service_account)
    containers = selected_containers(pod, requested)
    if len(containers) > MAX_INJECTED_CONTAINERS:
        raise Refusal(
            Reason.TOO_MANY_CONTAINERS,
            f"more than {MAX_INJECTED_CONTAINERS} containers would get the identity; select them by "
            f"{names.INJECT_CONTAINERS} or {names.SKIP_CONTAINERS}",
        )
    if not containers and plan is None:
        return Skip(Reason.NO_CONTAINERS, requested.warnings)
    return Injection(
        identity=identity,
        containers=containers,
        proxy=plan,
        endpoint=requested.endpoint,
        second_audience=_second_audience(requested, policy),
        warnings=(
            *identity.warnings,
            *_misspelt(pod),
            *requested.warnings,
            *proxy.warnings(pod, policy.proxy, plan),
            *(proxy_conflicts(pod, plan) if plan else ()),
        ),
    )


def selected_containers(pod: Pod, requested: PodAnnotations) -> frozenset[str]:
    """The names of the pod's containers that get the identity: those that the annotations select.

    The proxy's init container never gets it. The proxy, if it is in the pod already, always gets it where the pod asks
    for the proxy; elsewhere a container of its name is one like any other.
    """
    candidates = pod.container_names - {names.PROXY_INIT_CONTAINER}
    selected = (candidates & (requested.inject_containers or candidates)) - requested.skip_containers
    if requested.proxy is not None and names.PROXY_CONTAINER in candidates:
        return selected | {names.PROXY_CONTAINER}
    return selected


def _second_audience(requested: PodAnnotations, policy: Policy) -> str:
    """The pod's or the setting's, empty where the first token has the same audience."""
    audience = policy.second_audience if requested.second_audience is None else requested.second_audience
    first = requested.endpoint.audience if requested.endpoint else policy.audience
    return "" if audience == first else audience


def _not_opted_in(pod: Pod, account: Account | None, policy: Policy) -> Skip:
    if is_opted_out(pod):
        return Skip(Reason.OPTED_OUT)
    return Skip(Reason.NOT_OPTED_IN, tuple(_missed_opt_in(pod, account, policy)))


def _missed_opt_in(pod: Pod, account: Account | None, policy: Policy) -> Iterator[AdmissionWarning]:
    """Warn where the author probably wanted the pod to take part, with what is missing."""
    label = pod.labels.get(names.USE_LABEL)
    if label is not None and label != "true":
        yield AdmissionWarning(
            WarningCode.NOT_A_BOOLEAN, f'label {names.USE_LABEL} {quoted(label)} has no effect; only "true" has'
        )
    elif names.USE_LABEL in pod.annotations:
        yield AdmissionWarning(
            WarningCode.WRONG_OBJECT, f"{names.USE_LABEL} is an annotation of the pod and must be a label"
        )
    elif sign := _sign_of_intent(pod, account):
        yield AdmissionWarning(
            WarningCode.LABEL_MISSING, f"{sign}, but nothing is injected; to take part, {_ways_to_opt_in(pod, policy)}"
        )
    yield from _misspelt(pod)
    if account is not None:
        yield from account_warnings(account, pod.service_account)


def _sign_of_intent(pod: Pod, account: Account | None) -> str:
    if names.USE_LABEL in pod.labels:
        return f"the pod has the label {names.USE_LABEL}"
    if any(key.startswith(names.PREFIX) for key in pod.annotations):
        return f"the pod has {names.PREFIX} annotations"
    if account is not None and account.client_id:
        return f"ServiceAccount {pod.service_account} is annotated {names.CLIENT_ID}"
    if account is not None and account.labelled:
        return f"ServiceAccount {pod.service_account} has the label {names.USE_LABEL}"
    return ""


def _ways_to_opt_in(pod: Pod, policy: Policy) -> str:
    ways = {
        OptIn.POD_LABEL: f'label the pod (in a workload, spec.template.metadata.labels) {names.USE_LABEL}: "true"',
        OptIn.NAMESPACE_LABEL: f'label its namespace {names.USE_LABEL}: "true"',
        OptIn.SERVICE_ACCOUNT: f"annotate ServiceAccount {pod.service_account} with {names.CLIENT_ID}",
    }
    return " or ".join(way for opt_in, way in ways.items() if opt_in in policy.opt_in)


def _misspelt(pod: Pod) -> Iterator[AdmissionWarning]:
    for key, intended in unrecognized_keys(pod.annotations, POD_KEYS):
        if intended == names.USE_LABEL:
            yield AdmissionWarning(
                WarningCode.NEAR_MISS, f"{quoted(key)} of the pod is ignored; the label is {intended}"
            )
        elif intended in names.POD_ANNOTATIONS:
            yield AdmissionWarning(
                WarningCode.NEAR_MISS, f"{quoted(key)} of the pod is ignored; the annotation is {intended}"
            )
        elif intended is not None:
            yield AdmissionWarning(
                WarningCode.WRONG_OBJECT, f"{quoted(key)} of the pod is ignored; it belongs on its ServiceAccount"
            )
        elif not key.startswith(names.CUSTOM_ENDPOINT_PREFIX):
            yield AdmissionWarning(WarningCode.UNKNOWN_KEY, f"{quoted(key)} of the pod is not known and ignored")
    for key, intended in unrecognized_keys(pod.labels, _POD_LABELS):
        if intended == names.USE_LABEL:
            yield AdmissionWarning(
                WarningCode.NEAR_MISS, f"label {quoted(key)} of the pod is ignored; the label is {intended}"
            )
        elif intended is not None:
            owner = "it" if intended in names.POD_ANNOTATIONS else "its ServiceAccount"
            yield AdmissionWarning(
                WarningCode.WRONG_OBJECT, f"{quoted(key)} is a label of the pod and must be an annotation of {owner}"
            )
