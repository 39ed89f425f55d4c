"""The AdmissionReview envelope: the request that is read and the response that is written.

Shapes: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/ (request, response),
versions admission.k8s.io/v1 and v1beta1, which are alike in every field that is used here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from azure_workload_identity.types import JsonObject
from webhook.admission.errors import HttpError
from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, quoted

KIND: Final = "AdmissionReview"
VERSIONS: Final = ("admission.k8s.io/v1", "admission.k8s.io/v1beta1")
MAX_UID: Final = 128
# As many as the API server shows, which cuts them at 4,096 characters in all; a bound on logs and metrics too.
MAX_WARNINGS: Final = 16
DNS_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)


class BrokenReviewError(HttpError):
    """The envelope is not an AdmissionReview: an HTTP 400, since there is no uid to answer to."""

    status = 400
    code = "broken-review"


@dataclass(frozen=True, slots=True)
class Review:
    """The part of an AdmissionReview's request that is used; `pod` is the raw object, unchecked."""

    version: str
    uid: str
    namespace: str
    operation: str
    is_pod: bool
    pod: object = field(repr=False)

    @classmethod
    def parse(cls, envelope: object) -> "Review":
        """Read a decoded AdmissionReview.

        Raises:
            BrokenReviewError: when kind, apiVersion, request, uid, operation, resource or namespace is not as the API
                server sends it.
        """
        if not isinstance(envelope, dict):
            raise BrokenReviewError("the body is not a JSON object; send an AdmissionReview")
        version = envelope.get("apiVersion")
        if envelope.get("kind") != KIND or version not in VERSIONS:
            raise BrokenReviewError(
                f"kind {quoted(envelope.get('kind'))} of apiVersion {quoted(version)} is not an AdmissionReview of "
                + " or ".join(VERSIONS)
            )
        request = _member(envelope, "request", dict)
        uid = _member(request, "uid", str)
        if not 0 < len(uid) <= MAX_UID:
            raise BrokenReviewError(f"request.uid must have 1 to {MAX_UID} characters")
        resource = _member(request, "resource", dict)
        is_pod = resource.get("resource") == "pods" and not resource.get("group") and not request.get("subResource")
        namespace = request.get("namespace") or ""
        is_name = isinstance(namespace, str) and DNS_LABEL.fullmatch(namespace)
        # Only objects that are in no namespace, which pods are not, have none.
        if not is_name and (is_pod or namespace):
            raise BrokenReviewError(f"request.namespace {quoted(namespace)} is not a namespace's name")
        return cls(
            version=str(version),
            uid=uid,
            namespace=namespace,
            operation=_member(request, "operation", str),
            is_pod=is_pod,
            pod=request.get("object"),
        )


class Decision(StrEnum):
    """What happens to a pod, as logs, metrics and the audit log name it."""

    MUTATE = "mutate"
    SKIP = "skip"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class AdmissionOutcome:
    """The result of one admission: decision and reason, the message and warnings for the author, and the patch."""

    decision: Decision
    reason: Reason
    message: str = ""
    warnings: Sequence[AdmissionWarning] = ()
    operations: Sequence[JsonObject] = ()
    pod_name: str = ""
    service_account: str = ""

    @classmethod
    def refused(cls, refusal: Refusal) -> "AdmissionOutcome":
        """The outcome of a pod that could not be read."""
        return cls(Decision.REFUSE, refusal.reason, refusal.message)


def pod_creation(pod: JsonObject, namespace: str, uid: str) -> JsonObject:
    """The AdmissionReview that the API server sends when `pod` is created, with the fields that admission reads."""
    return {
        "apiVersion": VERSIONS[0],
        "kind": KIND,
        "request": {
            "uid": uid,
            "operation": "CREATE",
            "namespace": namespace,
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": pod,
        },
    }


def response(review: Review, outcome: AdmissionOutcome, patch: str | None) -> JsonObject:
    """Write the response; `patch` is the base64 of the operations as JSON, or None for no change."""
    body: JsonObject = {
        "uid": review.uid,
        "allowed": outcome.decision is not Decision.REFUSE,
        "auditAnnotations": {"decision": outcome.decision, "reason": outcome.reason},
    }
    if patch is not None:
        body["patchType"] = "JSONPatch"
        body["patch"] = patch
    if outcome.decision is Decision.REFUSE:
        body["status"] = {
            "status": "Failure",
            "code": Refusal.status,
            "reason": "BadRequest",
            "message": f"{outcome.message} ({outcome.reason})",
        }
    if outcome.warnings:
        body["warnings"] = [str(warning) for warning in outcome.warnings]
    return {"kind": KIND, "apiVersion": review.version, "response": body}


def _member(parent: Mapping[str, Any], key: str, kind: type[Any]) -> Any:  # noqa: ANN401  the caller names the type
    value = parent.get(key)
    if not isinstance(value, kind):
        raise BrokenReviewError(
            f"{key} is missing or not a JSON {'object' if kind is dict else 'string'} in the AdmissionReview"
        )
    return value
