"""One admission, end to end."""

from collections.abc import Callable

from webhook.admission import decision
from webhook.admission.decision import Skip
from webhook.admission.identity import Account, AccountsUnavailableError
from webhook.admission.mutation import mutate
from webhook.admission.pod import Pod
from webhook.admission.policy import Policy
from webhook.admission.reasons import Reason, Refusal
from webhook.admission.review import MAX_WARNINGS, AdmissionOutcome, Decision, Review

# (namespace, name) → the account, or None when there is none; raises AccountsUnavailableError when it cannot be read.
FindAccount = Callable[[str, str], Account | None]


def admit(review: Review, find: FindAccount, policy: Policy, *, namespace_labelled: bool = False) -> AdmissionOutcome:
    """Decide about one review and make the patch.

    Args:
        review: the request.
        find: looks the pod's ServiceAccount up.
        policy: what the administrator has set.
        namespace_labelled: whether the pod's namespace has the opt-in label, as the API server checked.

    Raises:
        AccountsUnavailableError: when the ServiceAccount decides and cannot be read.
    """
    if skip := decision.out_of_scope(review):
        return _skipped(skip)
    try:
        pod = Pod.parse(review.pod)
    except Refusal as refusal:
        return AdmissionOutcome.refused(refusal)
    if pod.is_mirror:
        return _skipped(Skip(Reason.MIRROR_POD), pod)
    try:
        opted_in = decision.opted_in(pod, policy, namespace_labelled=namespace_labelled)
        account = _account(review.namespace, pod, find, required=opted_in is not False)
        injection = decision.decide(pod, review.namespace, account, policy, opted_in=opted_in)
        if isinstance(injection, Skip):
            return _skipped(injection, pod)
        patch = mutate(pod, injection, policy)
    except Refusal as refusal:
        return AdmissionOutcome(
            Decision.REFUSE,
            refusal.reason,
            refusal.message,
            pod_name=pod.name,
            service_account=pod.service_account,
        )
    return AdmissionOutcome(
        Decision.MUTATE,
        Reason.INJECTED if patch.operations else Reason.ALREADY_INJECTED,
        warnings=(*injection.warnings, *patch.warnings)[:MAX_WARNINGS],
        operations=patch.operations,
        pod_name=pod.name,
        service_account=pod.service_account,
    )


def _account(namespace: str, pod: Pod, find: FindAccount, *, required: bool) -> Account | None:
    """The pod's account; where it is read only for warnings, a failure is none of the pod's."""
    if not required and decision.is_opted_out(pod):
        return None
    try:
        return find(namespace, pod.service_account)
    except AccountsUnavailableError:
        if required:
            raise
        return None


def _skipped(skip: Skip, pod: Pod | None = None) -> AdmissionOutcome:
    return AdmissionOutcome(
        Decision.SKIP,
        skip.reason,
        warnings=skip.warnings[:MAX_WARNINGS],
        pod_name=pod.name if pod else "",
        service_account=pod.service_account if pod else "",
    )
