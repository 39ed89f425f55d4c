"""The ServiceAccount in the cluster: only azwi's annotations are applied."""

from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster.kube import FIELD_MANAGER, ApiError, path
from azwi_cli.commands.serviceaccount.phases import PhaseOutcome, PhaseResult
from azwi_cli.commands.serviceaccount.run import Run
from azwi_cli.console.errors import CommandError, UsageError

_NOT_FOUND: Final = 404
_CONFLICT: Final = 409


LABEL: Final = {names.USE_LABEL: "true"}


def manifest(
    namespace: str, name: str, client_id: str, tenant_id: str, token_expiration: int, *, label: bool = False
) -> JsonObject:
    """The fields that azwi owns, for server-side apply; the expiration only when it is not the default."""
    annotations = {names.CLIENT_ID: client_id, names.TENANT_ID: tenant_id}
    if token_expiration != names.DEFAULT_TOKEN_EXPIRATION:
        annotations[names.TOKEN_EXPIRATION] = str(token_expiration)
    metadata: JsonObject = {"name": name, "namespace": namespace, "annotations": annotations}
    if label:
        metadata["labels"] = LABEL
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def find(run: Run) -> JsonObject | None:
    """The ServiceAccount, if it exists."""
    return run.cluster.find(_path(run))


def preflight(run: Run) -> None:
    """Check name, namespace and permission in a dry run, before an identity is created in vain.

    Raises:
        CommandError: when it refuses, or the given issuer is nearly the cluster's.
    """
    request = run.request
    _check_issuer(run)
    metadata = {"namespace": request.service_account_namespace, "name": request.service_account_name}
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    try:
        run.cluster.apply(_path(run), body, dry_run=True)
    except ApiError as error:
        raise _explained(error, request.service_account_namespace) from error


def _check_issuer(run: Run) -> None:
    given = run.request.service_account_issuer_url
    own = run.issuer_of_cluster() if given else ""
    if own != given and own.rstrip("/").lower() == given.rstrip("/").lower():
        raise UsageError(
            f"--service-account-issuer-url {given} is not the cluster's issuer {own}: a slash or letter case differs, "
            "and Entra compares every byte",
            f"give --service-account-issuer-url={own}, or leave it out",
        )


def _path(run: Run) -> str:
    return path("v1", "serviceaccounts", run.request.service_account_namespace, run.request.service_account_name)


def apply(run: Run, client_id: str, tenant_id: str) -> PhaseResult:
    """Create the ServiceAccount, or set its annotations and, if it is wanted or there, its label.

    Raises:
        CommandError: when another owns one of them with another value, or the namespace is not there.
    """
    request = run.request
    namespace, name = request.service_account_namespace, request.service_account_name
    where = _path(run)
    before = find(run)
    # Server-side apply removes what azwi owns and does not send again; without the label, pods would get no identity.
    label = request.label or (before is not None and _labels(before).items() >= LABEL.items())
    body = manifest(namespace, name, client_id, tenant_id, request.token_expiration, label=label)
    outcome = PhaseOutcome.UPDATED if before else PhaseOutcome.CREATED
    try:
        # A dry run shows the result: annotations that azwi owned may go, others stay.
        after = run.cluster.apply(where, body, force=request.force_conflicts, dry_run=True)
        if before and _annotations(before) == _annotations(after) and _labels(before) == _labels(after):
            outcome = PhaseOutcome.UNCHANGED
        elif run.session.plan is not None:
            force = "&force=true" if request.force_conflicts else ""
            run.session.plan.add("PATCH", f"{where}?fieldManager={FIELD_MANAGER}{force}", body)
        else:
            run.cluster.apply(where, body, force=request.force_conflicts)
    except ApiError as error:
        raise _explained(error, namespace) from error
    return PhaseResult(outcome, f"{namespace}/{name}", _annotations(body), _issuer_notes(run))


def _annotations(account: JsonObject) -> dict[str, str]:
    return account["metadata"].get("annotations") or {}


def _labels(account: JsonObject) -> dict[str, str]:
    return account["metadata"].get("labels") or {}


def delete(run: Run) -> PhaseResult:
    """Delete the ServiceAccount; it is not an error when it does not exist."""
    namespace, name = run.request.service_account_namespace, run.request.service_account_name
    where = _path(run)
    if run.session.plan is None:
        there = run.cluster.delete(where)
    else:
        there = find(run) is not None
        if there:
            run.session.plan.add("DELETE", where)
    return PhaseResult(PhaseOutcome.DELETED if there else PhaseOutcome.ABSENT, f"{namespace}/{name}")


def _issuer_notes(run: Run) -> tuple[str, ...]:
    """Notes on a given issuer that is not the cluster's."""
    given = run.request.service_account_issuer_url
    own = run.issuer_of_cluster() if given else ""
    if own in ("", given):
        return ()
    return (f"tokens of this cluster carry the issuer {own}, not {given}: Entra compares every byte",)


def _explained(error: ApiError, namespace: str) -> CommandError:
    if error.status == _CONFLICT:
        return CommandError(
            error.message, "correct it where that manager has it from, or take the field over with --force-conflicts"
        )
    if error.status == _NOT_FOUND:
        return CommandError(error.message, f"kubectl create namespace {namespace}")
    return error
