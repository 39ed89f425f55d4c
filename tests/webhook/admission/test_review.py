"""The AdmissionReview envelope."""

import re

import pytest

from testbed.pods import NAMESPACE, envelope, pod, review
from webhook.admission.reasons import Reason
from webhook.admission.review import AdmissionOutcome, BrokenReviewError, Decision, Review, response


def test_what_is_read() -> None:
    """The creation of a pod is read with its version, uid, namespace and the pod as it came."""
    raw = pod()
    read = review(raw)
    assert (read.version, read.uid, read.namespace, read.operation) == (
        "admission.k8s.io/v1",
        "c0ffee",
        NAMESPACE,
        "CREATE",
    )
    assert read.is_pod
    assert read.pod is raw


def test_version_v1beta1() -> None:
    """A review of v1beta1 is read, and answered in v1beta1."""
    read = Review.parse({**envelope(pod()), "apiVersion": "admission.k8s.io/v1beta1"})
    answer = response(read, AdmissionOutcome(Decision.SKIP, Reason.NOT_OPTED_IN), None)
    assert answer["apiVersion"] == "admission.k8s.io/v1beta1"


@pytest.mark.parametrize(
    "request_",
    [
        {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
        {"resource": {"group": "metrics.k8s.io", "version": "v1", "resource": "pods"}},
        {"subResource": "ephemeralcontainers"},
        {"resource": {"version": "v1", "resource": "namespaces"}, "namespace": ""},
    ],
)
def test_other_resources_are_no_pods(request_: dict[str, object]) -> None:
    """Only pods themselves are pods; other resources need no namespace."""
    assert not review({}, **request_).is_pod


@pytest.mark.parametrize("group", ["", None])
def test_the_core_group(group: str | None) -> None:
    """The core group may be empty, null or left out."""
    assert review({}, resource={"group": group, "resource": "pods"}).is_pod
    assert review({}, resource={"resource": "pods"}).is_pod


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ([], "not a JSON object"),
        (None, "not a JSON object"),
        ({}, "kind 'None' of apiVersion 'None' is not an AdmissionReview"),
        ({**envelope({}), "kind": "Pod"}, "kind 'Pod'"),
        ({**envelope({}), "apiVersion": "admission.k8s.io/v2"}, "of admission.k8s.io/v1 or admission.k8s.io/v1beta1"),
        ({**envelope({}), "request": None}, "request is missing or not a JSON object"),
        (envelope({}, uid=None), "uid is missing or not a JSON string"),
        (envelope({}, uid=""), "1 to 128 characters"),
        (envelope({}, uid="x" * 129), "1 to 128 characters"),
        (envelope({}, operation=None), "operation is missing"),
        (envelope({}, resource="pods"), "resource is missing or not a JSON object"),
        (envelope({}, namespace=""), "namespace '' is not a namespace's name"),
        (envelope({}, namespace=None), "namespace '' is not"),
        (envelope({}, namespace="A"), "namespace 'A' is not"),
        (envelope({}, namespace=["a"]), "is not a namespace's name"),
        (envelope({}, namespace="a/b"), "is not a namespace's name"),
        (envelope({}, namespace="a\n"), "is not a namespace's name"),
        (envelope({}, namespace="x" * 64), "is not a namespace's name"),
    ],
)
def test_broken_envelopes(body: object, message: str) -> None:
    """An envelope that no API server sends is an HTTP 400 with what is wrong in it."""
    with pytest.raises(BrokenReviewError, match=re.escape(message)) as broken:
        Review.parse(body)
    assert (broken.value.status, broken.value.code) == (400, "broken-review")
    assert broken.value.message == str(broken.value)


@pytest.mark.parametrize("version", [[], {}, 1, None])
def test_versions_of_a_wrong_type(version: object) -> None:
    """An apiVersion that is no string is a broken envelope like any other."""
    with pytest.raises(BrokenReviewError):
        Review.parse({**envelope({}), "apiVersion": version})


def test_a_mutation_is_answered_with_a_patch() -> None:
    """A patch is announced as a JSON patch, beside the decision for the audit log."""
    answer = response(review({}), AdmissionOutcome(Decision.MUTATE, Reason.INJECTED), "W10=")
    assert answer == {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "response": {
            "uid": "c0ffee",
            "allowed": True,
            "auditAnnotations": {"decision": "mutate", "reason": "injected"},
            "patchType": "JSONPatch",
            "patch": "W10=",
        },
    }


def test_nothing_to_change_is_answered_without_a_patch() -> None:
    """Without a patch neither patch nor patchType is there: v1 refuses one without the other."""
    answer = response(review({}), AdmissionOutcome(Decision.SKIP, Reason.NOT_OPTED_IN), None)
    assert answer["response"] == {
        "uid": "c0ffee",
        "allowed": True,
        "auditAnnotations": {"decision": "skip", "reason": "not-opted-in"},
    }


def test_a_refusal_is_answered_with_a_status() -> None:
    """A refusal is not allowed, and its status has the message that kubectl prints."""
    answer = response(review({}), AdmissionOutcome(Decision.REFUSE, Reason.INVALID_PROXY_PORT, "port 0 is none"), None)
    assert answer["response"]["allowed"] is False
    assert answer["response"]["status"] == {
        "status": "Failure",
        "code": 400,
        "reason": "BadRequest",
        "message": "port 0 is none (invalid-proxy-port)",
    }
