"""Adding and removing one federated credential, of whatever holds it."""

from collections.abc import Iterable
from typing import Final

from azwi_cli.azure.errors import NOT_FOUND, AzureApiError
from azwi_cli.azure.federation import MAX_CREDENTIALS, FederatedCredential, Holder, Trust
from azwi_cli.azure.polling import Polling
from azwi_cli.commands.serviceaccount.phases import PhaseOutcome, PhaseResult
from azwi_cli.console.errors import CommandError

CONFLICT: Final = 409
# ARM writes the credentials of one identity one at a time.
CONCURRENT: Final = "ConcurrentFederatedIdentityCredentialsWritesForSingleManagedIdentity"


def add(holder: Holder, trust: Trust, polling: Polling, *, planning: bool = False) -> PhaseResult:
    """Make the holder trust these tokens, unless it does.

    Raises:
        CommandError: when it has a credential for them with another audience, or no room for one more.
    """
    existing = polling.attempt(holder.label, holder.credentials, AzureApiError, _is_passing)
    notes = tuple(_near_misses(existing, trust))
    found = _covering(existing, trust)
    if found is not None:
        return _step(PhaseOutcome.UNCHANGED, holder, trust, _checked(found, trust).name, notes)
    if len(existing) >= MAX_CREDENTIALS:
        raise CommandError(
            f"{holder.label} has {len(existing)} federated credentials, and Entra allows {MAX_CREDENTIALS}",
            "delete those of accounts that are gone (azwi serviceaccount delete phase federated-identity), or use "
            "another identity",
        )
    name = _free_name(holder, trust, existing)
    try:
        polling.attempt(holder.label, lambda: holder.add(name, trust), AzureApiError, _is_passing)
    except AzureApiError as error:
        if error.status != CONFLICT:
            raise
        # Created concurrently, or the list came from a replica that lags behind.
        known = polling.until("the federated credential", lambda: _covering(holder.credentials(), trust))
        return _step(PhaseOutcome.UNCHANGED, holder, trust, _checked(known, trust).name, notes)
    if not planning:
        polling.until("the federated credential", lambda: _covering(holder.credentials(), trust))
    return _step(PhaseOutcome.CREATED, holder, trust, name, notes)


def remove(holder: Holder, trust: Trust, polling: Polling) -> PhaseResult:
    """Remove the holder's trust in these tokens."""
    existing = holder.credentials()
    notes = tuple(_near_misses(existing, trust))
    found = _covering(existing, trust)
    if found is None:
        return _step(PhaseOutcome.ABSENT, holder, trust, "", notes)
    polling.attempt(holder.label, lambda: holder.remove(found), AzureApiError, _is_concurrent)
    return _step(PhaseOutcome.DELETED, holder, trust, found.name, notes)


def _covering(credentials: Iterable[FederatedCredential], trust: Trust) -> FederatedCredential | None:
    return next((credential for credential in credentials if credential.covers(trust)), None)


def _checked(found: FederatedCredential, trust: Trust) -> FederatedCredential:
    if trust.audience not in found.audiences:
        audiences = ", ".join(found.audiences)
        raise CommandError(
            f"federated credential {found.name!r} has this issuer and subject, but audience {audiences} instead of "
            f"{trust.audience}",
            "if no pod uses it, delete it with azwi serviceaccount delete phase federated-identity and create it "
            "again; or give its audience with --audience",
        )
    return found


def _near_misses(credentials: Iterable[FederatedCredential], trust: Trust) -> Iterable[str]:
    for credential in credentials:
        if credential.nearly_covers(trust):
            yield (
                f"federated credential {credential.name!r} is nearly for the same tokens: issuer {credential.issuer}, "
                f"subject {credential.subject}; Entra compares every byte, a slash at the end and case included"
            )


def _free_name(holder: Holder, trust: Trust, existing: Iterable[FederatedCredential]) -> str:
    taken = {credential.name for credential in existing}
    names = holder.names(trust)
    return next((name for name in names if name not in taken), names[-1])


def _is_passing(error: AzureApiError) -> bool:
    """Whether a replica that does not know the holder yet has answered, or another write is under way."""
    return error.status == NOT_FOUND or _is_concurrent(error)


def _is_concurrent(error: AzureApiError) -> bool:
    return error.code == CONCURRENT


def _step(outcome: PhaseOutcome, holder: Holder, trust: Trust, name: str, notes: tuple[str, ...]) -> PhaseResult:
    details = {"issuer": trust.issuer, "subject": trust.subject, "audience": trust.audience}
    return PhaseResult(outcome, holder.label, {**({"name": name} if name else {}), **details}, notes)
