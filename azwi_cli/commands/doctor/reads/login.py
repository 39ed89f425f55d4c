"""The login, the API server's clock, and whether what the command line names is there."""

from dataclasses import replace
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli import clock_skew
from azwi_cli.clock_skew import ClockReading
from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError
from azwi_cli.commands.doctor.findings import Area, Unreadable
from azwi_cli.commands.doctor.reads.reader import Reader, Scope
from azwi_cli.commands.doctor.snapshot import Snapshot, timestamp
from azwi_cli.console.errors import CommandError, UnreachableError

ANONYMOUS: Final = "system:anonymous"
# 401 ends it all: nothing can be read without a login.
_UNAUTHORIZED: Final = 401
_NOT_FOUND: Final = 404


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read the clock by an object that is not stored; its answer shows, too, that the login is accepted.

    Raises:
        UnreachableError: when the API server does not answer, or does not accept the login.
        CommandError: when the namespace, pod or account of the scope is not there.
    """
    clock = _server_clock(reader)
    _check_scope(reader, reader.scope)
    return replace(snapshot, now=clock.sent_at if clock else snapshot.now, server_clock=clock)


def _server_clock(reader: Reader) -> ClockReading | None:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    asked = clock_skew.now()
    try:
        answer = reader.cluster.create(kube.path("authentication.k8s.io/v1", "selfsubjectreviews"), review)
    except ApiError as error:
        if error.status == _UNAUTHORIZED:
            raise UnreachableError(
                "the API server does not accept your login (401 Unauthorized)", error.hint
            ) from error
        reader.unreadable.append(Unreadable("the API server's clock", error.message, Area.CLOCK))
        return None
    _refuse_anonymous(answer)
    shown = timestamp((answer.get("metadata") or {}).get("creationTimestamp"))
    return ClockReading(shown, asked, clock_skew.now()) if shown else None


def _refuse_anonymous(review: JsonObject) -> None:
    user = ((review.get("status") or {}).get("userInfo") or {}).get("username")
    if user == ANONYMOUS:
        raise UnreachableError(
            f"the API server takes you for {ANONYMOUS}: your kubeconfig has no login that it accepts",
            "log in to the cluster again; for AKS: az aks get-credentials",
        )


def _check_scope(reader: Reader, scope: Scope) -> None:
    """Refuse what is not there, before anything is looked at; what may not be read is noted when it is needed."""
    namespace, where = scope.namespace, f"in namespace {scope.namespace}"
    if namespace and _is_missing(reader, kube.path("v1", "namespaces", name=namespace)):
        raise CommandError(f"there is no namespace {namespace}", "kubectl get namespaces shows all")
    if scope.service_account and _is_missing(
        reader, kube.path("v1", "serviceaccounts", namespace, scope.service_account)
    ):
        raise CommandError(
            f"there is no ServiceAccount {scope.service_account} {where}",
            "is --namespace the right one? kubectl get serviceaccounts --all-namespaces shows all",
        )
    if scope.pod and _is_missing(reader, kube.path("v1", "pods", namespace, scope.pod)):
        raise CommandError(f"there is no pod {scope.pod} {where}", "kubectl get pods shows what is there")


def _is_missing(reader: Reader, path: str) -> bool:
    try:
        reader.cluster.get(path)
    except ApiError as error:
        return error.status == _NOT_FOUND
    return False
