"""One admission from beginning to end."""

from collections.abc import Awaitable, Callable

from webhook.admission import decision
from webhook.admission.decision import Skip
from webhook.admission.identity import Account, AccountsUnavailableError
from webhook.admission.mutation import mutate
from webhook.admission.pod import Pod
from webhook.admission.policy import Policy
from webhook.admission.reasons import Reason, Refusal
from webhook.admission.review import MAX_WARNINGS, AdmissionOutcome, Decision, Review

# (namespace, name) → the account, or None when there is none; AccountsUnavailableError when that cannot be told.
FindAccount = Callable[[str, str], Awaitable[Account | None]]


async def admit(
    review: Review, find: FindAccount, policy: Policy, *, namespace_labelled: bool = False
) -> AdmissionOutcome:
    """Decide one admission. `namespace_labelled`: the API server has seen the opt-in label on the namespace."""
    if skip := decision.out_of_scope(review):
        return _skipped(skip)
    try:
        pod = Pod.parse(review.pod)
    except Refusal as refusal:
        return AdmissionOutcome.refused(refusal)
    try:
        opted = decision.opted_in(pod, policy, namespace_labelled=namespace_labelled)
        account = await _account(review.namespace, pod, find, needed=opted is not False)
        decided = decision.decide(pod, review.namespace, account, policy, opted=opted)
        if isinstance(decided, Skip):
            return _skipped(decided, pod)
        patch = mutate(pod, decided, policy)
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
        warnings=(*decided.warnings, *patch.warnings)[:MAX_WARNINGS],
        operations=patch.operations,
        pod_name=pod.name,
        service_account=pod.service_account,
    )


async def _account(namespace: str, pod: Pod, find: FindAccount, *, needed: bool) -> Account | None:
    """The pod's account; where it is only wanted for a warning, nothing fails for it."""
    if decision.is_opted_out(pod):
        return None
    try:
        return await find(namespace, pod.service_account)
    except AccountsUnavailableError:
        if needed:
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
