"""Whether a pod is mutated, skipped or refused, and what the author is told."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from azure_workload_identity import names
from webhook.admission import proxy, values
from webhook.admission.identity import Account, Identity, account_warnings, resolve
from webhook.admission.misspellings import unrecognized_keys
from webhook.admission.pod import Pod
from webhook.admission.policy import CustomEndpoint, OptIn, Policy
from webhook.admission.proxy import ProxyPlan
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted
from webhook.admission.review import Review

# The label's key as an annotation is told of elsewhere, or harmless where the label is there too.
_POD_KEYS: Final = names.POD_ANNOTATIONS | {names.USE_LABEL}
_POD_LABELS: Final = frozenset({names.USE_LABEL})


@dataclass(frozen=True, slots=True)
class Injection:
    """The pod gets an identity: this one, in these containers (names), with this proxy and endpoint if any."""

    identity: Identity
    containers: frozenset[str]
    proxy: ProxyPlan | None
    endpoint: CustomEndpoint | None
    warnings: tuple[AdmissionWarning, ...]


@dataclass(frozen=True, slots=True)
class Skip:
    """The pod is admitted as it is."""

    reason: Reason
    warnings: tuple[AdmissionWarning, ...] = ()


def out_of_scope(review: Review) -> Skip | None:
    """Only the creation of pods concerns us; everything else is allowed untouched."""
    if not review.is_pod:
        return Skip(Reason.NOT_A_POD)
    if review.operation != "CREATE":
        return Skip(Reason.NOT_CREATE)
    return None


def is_opted_out(pod: Pod) -> bool:
    """Whether the pod itself says that it does not take part."""
    return values.boolean(pod.labels.get(names.USE_LABEL, "")) is False


def opted_in(pod: Pod, policy: Policy, *, namespace_labelled: bool) -> bool | None:
    """Whether the pod takes part, as far as it and its namespace tell: None means that its account decides."""
    if is_opted_out(pod):
        return False
    if pod.labels.get(names.USE_LABEL) == "true" and OptIn.POD_LABEL in policy.opt_in:
        return True
    if namespace_labelled and OptIn.NAMESPACE_LABEL in policy.opt_in:
        return True
    return None if OptIn.SERVICE_ACCOUNT in policy.opt_in else False


def decide(
    pod: Pod, namespace: str, account: Account | None, policy: Policy, *, opted: bool | None
) -> Injection | Skip:
    """The decision for a pod whose opt-in `opted` is and whose ServiceAccount is `account` (None: there is none).

    Raises:
        Refusal: when the pod takes part and something that it or its account asks for cannot be done.
    """
    if opted is False:
        return _left_alone(pod, account, policy)
    mapped = policy.mapping.find(namespace, pod.service_account)
    if opted is None and not (account and (account.client_id or mapped)):
        return _left_alone(pod, account, policy)
    if account is None:
        raise Refusal(
            Reason.SERVICE_ACCOUNT_NOT_FOUND,
            f'serviceaccounts "{pod.service_account}" not found in namespace {namespace}: create it before the pod',
        )
    asked = proxy.plan(pod, policy.proxy)
    identity = resolve(pod, account, mapped, policy.identity)
    containers = selected_containers(pod)
    if not containers and asked is None:
        return Skip(Reason.NO_CONTAINERS, tuple(_list_warnings(pod)))
    return Injection(
        identity=identity,
        containers=containers,
        proxy=asked,
        endpoint=_endpoint(pod, policy),
        warnings=(
            *identity.warnings,
            *_pod_warnings(pod, policy),
            *_list_warnings(pod),
            *proxy.warnings(pod, policy.proxy, asked),
        ),
    )


def selected_containers(pod: Pod) -> frozenset[str]:
    """The names of the pod's own containers that get the identity.

    The list annotations choose; the proxy, once there, always gets it and its init container never.
    """
    every = pod.container_names - {names.PROXY_INIT_CONTAINER}
    included = values.names(pod.annotations.get(names.INJECT_CONTAINERS, "")) or every
    skipped = values.names(pod.annotations.get(names.SKIP_CONTAINERS, "")) - {names.PROXY_CONTAINER}
    return (every & (included | {names.PROXY_CONTAINER})) - skipped


def _left_alone(pod: Pod, account: Account | None, policy: Policy) -> Skip:
    if is_opted_out(pod):
        return Skip(Reason.OPTED_OUT)
    return Skip(Reason.NOT_OPTED_IN, tuple(_missed_opt_in(pod, account, policy)))


def _missed_opt_in(pod: Pod, account: Account | None, policy: Policy) -> Iterator[AdmissionWarning]:
    """Signs that the author meant the pod to take part, and what misses."""
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
            WarningCode.LABEL_MISSING, f"{sign}, but nothing is injected; to take part, {_ways_in(pod, policy)}"
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


def _ways_in(pod: Pod, policy: Policy) -> str:
    ways = {
        OptIn.POD_LABEL: f'label the pod (in a workload, spec.template.metadata.labels) {names.USE_LABEL}: "true"',
        OptIn.NAMESPACE_LABEL: f'label its namespace {names.USE_LABEL}: "true"',
        OptIn.SERVICE_ACCOUNT: f"annotate ServiceAccount {pod.service_account} with {names.CLIENT_ID}",
    }
    return " or ".join(way for opt_in, way in ways.items() if opt_in in policy.opt_in)


def _pod_warnings(pod: Pod, policy: Policy) -> Iterator[AdmissionWarning]:
    yield from _misspelt(pod)
    for key in pod.annotations:
        if key.startswith(names.CUSTOM_ENDPOINT_PREFIX) and (
            policy.custom_endpoint is None or key != policy.custom_endpoint.annotation
        ):
            yield AdmissionWarning(
                WarningCode.CUSTOM_ENDPOINT_OFF,
                f"{quoted(key)} has no effect: this webhook is not set up for that token endpoint",
            )
    if policy.custom_endpoint is not None:
        text = pod.annotations.get(policy.custom_endpoint.annotation)
        if text is not None and values.boolean(text) is None:
            yield AdmissionWarning(
                WarningCode.NOT_A_BOOLEAN,
                f'{policy.custom_endpoint.annotation} {quoted(text)} is neither "true" nor "false" and has no effect',
            )


def _misspelt(pod: Pod) -> Iterator[AdmissionWarning]:
    for key, meant in unrecognized_keys(pod.annotations, _POD_KEYS):
        if meant == names.USE_LABEL:
            yield AdmissionWarning(
                WarningCode.NEAR_MISS, f"{quoted(key)} of the pod is ignored; meant is the label {meant}"
            )
        elif meant in names.POD_ANNOTATIONS:
            yield AdmissionWarning(
                WarningCode.NEAR_MISS, f"{quoted(key)} of the pod is ignored; the annotation is {meant}"
            )
        elif meant is not None:
            yield AdmissionWarning(
                WarningCode.WRONG_OBJECT, f"{quoted(key)} of the pod is ignored; it belongs on its ServiceAccount"
            )
        elif not key.startswith(names.CUSTOM_ENDPOINT_PREFIX):
            yield AdmissionWarning(WarningCode.UNKNOWN_KEY, f"{quoted(key)} of the pod is not known and ignored")
    for key, meant in unrecognized_keys(pod.labels, _POD_LABELS):
        if meant == names.USE_LABEL:
            yield AdmissionWarning(
                WarningCode.NEAR_MISS, f"label {quoted(key)} of the pod is ignored; the label is {meant}"
            )
        elif meant is not None:
            yield AdmissionWarning(
                WarningCode.WRONG_OBJECT, f"{quoted(key)} is a label of the pod and must be an annotation {_of(meant)}"
            )


def _of(key: str) -> str:
    return "of it" if key in names.POD_ANNOTATIONS else "of its ServiceAccount"


def _list_warnings(pod: Pod) -> Iterator[AdmissionWarning]:
    for annotation in (names.INJECT_CONTAINERS, names.SKIP_CONTAINERS):
        listed = values.names(pod.annotations.get(annotation, ""))
        unknown = sorted(listed - pod.container_names - names.PROXY_CONTAINERS)
        if unknown:
            yield AdmissionWarning(
                WarningCode.UNKNOWN_CONTAINER, f"{annotation} names {quoted(', '.join(unknown))}, not in the pod"
            )


def _endpoint(pod: Pod, policy: Policy) -> CustomEndpoint | None:
    endpoint = policy.custom_endpoint
    if endpoint is not None and values.boolean(pod.annotations.get(endpoint.annotation, "")) is True:
        return endpoint
    return None
