"""One admission from beginning to end."""

import pytest

from azure_workload_identity import names
from testbed.pods import (
    ACCOUNT,
    NAMESPACE,
    POLICY,
    account,
    admitted,
    applied,
    codes,
    container,
    envelope,
    pod,
    policy,
    review,
)
from webhook.admission.admit import admit
from webhook.admission.identity import Account, AccountsUnavailableError
from webhook.admission.policy import OptIn, Policy
from webhook.admission.reasons import Reason
from webhook.admission.review import MAX_WARNINGS, AdmissionOutcome, Decision, Review


class Accounts:
    """One account for every lookup; the lookups are recorded."""

    def __init__(self, found: Account | None = ACCOUNT) -> None:
        self.lookups: list[tuple[str, str]] = []
        self._found = found

    def find(self, namespace: str, name: str) -> Account | None:
        """Answer with the one account."""
        self.lookups.append((namespace, name))
        return self._found


def admit_with(accounts: Accounts, raw: object, rules: Policy = POLICY) -> AdmissionOutcome:
    """Admit a pod with these accounts."""
    return admit(review(raw), accounts.find, rules)


def test_a_pod_is_injected() -> None:
    """An opted-in pod is mutated, and the outcome names the pod and its account."""
    outcome = admitted(pod())
    assert (outcome.decision, outcome.reason) == (Decision.MUTATE, Reason.INJECTED)
    assert (outcome.pod_name, outcome.service_account) == ("app", "app")
    assert outcome.operations


def test_a_pod_that_is_injected_already() -> None:
    """A pod with everything in place is mutated by nothing, under a reason of its own."""
    raw = pod()
    outcome = admitted(applied(raw, admitted(raw)))
    assert (outcome.decision, outcome.reason, outcome.operations) == (Decision.MUTATE, Reason.ALREADY_INJECTED, [])


@pytest.mark.parametrize("spec", [{}, {"serviceAccountName": ""}])
def test_the_account_is_asked_for(spec: dict[str, str]) -> None:
    """The account is that of the request's namespace; a pod that names none runs as `default`."""
    accounts = Accounts()
    raw = pod()
    raw["metadata"]["namespace"] = "elsewhere"
    raw["spec"] = {"containers": [container()], **spec}
    assert admit_with(accounts, raw).decision is Decision.MUTATE
    assert accounts.lookups == [(NAMESPACE, "default")]


@pytest.mark.parametrize(
    ("labels", "rules", "times"),
    [
        ({}, POLICY, 1),
        ({names.USE_LABEL: "false"}, policy(*OptIn), 0),
        ({}, policy(OptIn.SERVICE_ACCOUNT), 1),
    ],
)
def test_the_account_of_a_pod_left_alone(labels: dict[str, str], rules: Policy, times: int) -> None:
    """The account of a pod that is left alone is looked at for signs of a mistake, unless the pod opts out."""
    accounts = Accounts(account(client_id=""))
    assert admit_with(accounts, pod(labels=labels), rules).decision is Decision.SKIP
    assert len(accounts.lookups) == times


def test_warnings_are_bounded() -> None:
    """However much is wrong with a pod, its author reads of the first few things."""
    annotations = {f"azure.workload.identity/use-{n}": "true" for n in range(1000)}
    assert len(admitted(pod(annotations=annotations)).warnings) == MAX_WARNINGS


@pytest.mark.parametrize(("rules", "raised"), [(POLICY, False), (policy(OptIn.SERVICE_ACCOUNT), True)])
def test_accounts_that_cannot_be_read(rules: Policy, *, raised: bool) -> None:
    """Accounts that cannot be read fail an admission only where they decide it."""

    def find(namespace: str, name: str) -> Account | None:
        raise AccountsUnavailableError(f"{namespace}/{name}")

    read = review(pod(labels={}))
    if raised:
        with pytest.raises(AccountsUnavailableError):
            admit(read, find, rules)
    else:
        assert admit(read, find, rules).reason is Reason.NOT_OPTED_IN


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"operation": "UPDATE"}, Reason.NOT_CREATE),
        ({"operation": "DELETE", "object": None}, Reason.NOT_CREATE),
        ({"subResource": "binding"}, Reason.NOT_A_POD),
        ({"resource": {"group": "apps", "resource": "deployments"}}, Reason.NOT_A_POD),
    ],
)
def test_what_is_none_of_our_business(request_: dict[str, object], reason: Reason) -> None:
    """Anything but the creation of a pod is let through before the object is looked at."""
    outcome = admit(Review.parse(envelope({}, **request_)), Accounts().find, POLICY)
    assert (outcome.decision, outcome.reason, outcome.operations) == (Decision.SKIP, reason, ())


@pytest.mark.parametrize("raw", [None, {}, {"spec": None}, "pod"])
def test_a_malformed_pod(raw: object) -> None:
    """An object that is not a pod is refused before its account is looked up."""
    accounts = Accounts()
    outcome = admit_with(accounts, raw)
    assert (outcome.decision, outcome.reason, accounts.lookups) == (Decision.REFUSE, Reason.MALFORMED_POD, [])


def test_a_missing_account() -> None:
    """A pod whose account does not exist is refused, and the outcome names both."""
    outcome = admitted(pod(), None)
    assert (outcome.decision, outcome.reason) == (Decision.REFUSE, Reason.SERVICE_ACCOUNT_NOT_FOUND)
    assert (outcome.pod_name, outcome.service_account) == ("app", "app")
    assert outcome.message.startswith('serviceaccounts "app" not found')


def test_a_fault_of_the_accounts_is_not_a_refusal() -> None:
    """An error of the lookup reaches the caller: it is not the pod author's fault."""

    def find(_namespace: str, _name: str) -> Account | None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        admit(review(pod()), find, POLICY)


def test_a_labelled_namespace() -> None:
    """A pod without a label is mutated in a labelled namespace where that counts."""
    rules = policy(OptIn.NAMESPACE_LABEL)
    assert admitted(pod(labels={}), rules=rules, namespace_labelled=True).decision is Decision.MUTATE
    assert admitted(pod(labels={}), rules=rules).decision is Decision.SKIP


def test_warnings_of_every_kind() -> None:
    """Warnings of the account, the pod and its containers arrive together."""
    raw = pod(
        container(env=[{"name": "AZURE_TENANT_ID", "value": "mine"}]),
        annotations={names.SKIP_CONTAINERS: "nope", names.INJECT_PROXY: "yes", "azure.workload.identity/x": ""},
    )
    assert codes(admitted(raw, account(client_id=""))) == [
        "no-client-id",
        "unknown-key",
        "unknown-container",
        "not-a-boolean",
        "shadowed-variable",
    ]


def test_warnings_of_a_pod_without_containers() -> None:
    """A pod in which no container is selected is skipped, with a warning about the list."""
    outcome = admitted(pod(annotations={names.INJECT_CONTAINERS: "nope"}))
    assert (outcome.reason, codes(outcome)) == (Reason.NO_CONTAINERS, ["unknown-container"])
    assert (outcome.pod_name, outcome.service_account) == ("app", "app")


@pytest.mark.parametrize("rules", [POLICY, policy(*OptIn)])
def test_a_mirror_pod(rules: Policy) -> None:
    """The mirror of a static pod is left alone in every opt-in mode, and its account is not looked up."""
    accounts = Accounts()
    raw = pod(annotations={names.MIRROR_POD: "6f2c1b7d", names.INJECT_PROXY: "true"})
    outcome = admit(review(raw), accounts.find, rules, namespace_labelled=True)
    assert (outcome.decision, outcome.reason, outcome.warnings) == (Decision.SKIP, Reason.MIRROR_POD, ())
    assert accounts.lookups == []
