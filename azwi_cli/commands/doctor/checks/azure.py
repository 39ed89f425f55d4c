"""Does Entra trust the tokens of ServiceAccounts? Issuer, subject and audience are compared as it does: every byte."""

from collections.abc import Iterator
from typing import Final

from azure_workload_identity import names
from azwi_cli.azure.federation import MAX_CREDENTIALS, FederatedCredential, Trust
from azwi_cli.commands.doctor.checks.accounts import identity_command
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.fixes import line
from azwi_cli.commands.doctor.snapshot import HeldCredentials, Snapshot

SUBJECT: Final = "system:serviceaccount:"


def trusted(snapshot: Snapshot) -> Iterator[Finding]:
    """Each account's identity has a credential for its tokens."""
    if not snapshot.issuer or not snapshot.held:
        return
    audience = snapshot.policy.audience if snapshot.policy else names.DEFAULT_AUDIENCE
    bound = snapshot.only_bound()
    for (namespace, name), named in snapshot.identities().items():
        held = snapshot.held.get(named.client_id)
        if held is not None and (namespace, name) not in bound:
            yield from _judged(snapshot, held, Trust(namespace, name, snapshot.issuer, audience))


def _judged(snapshot: Snapshot, held: HeldCredentials, trust: Trust) -> Iterator[Finding]:
    subject = f"ServiceAccount {trust.namespace}/{trust.service_account}"
    if held.flags is None:
        what = f"no application or managed identity of this tenant has its client id {held.client_id} (AADSTS700016)"
        evidence = ("Graph knows no such application or principal", *_by_mapping(snapshot, trust))
        yield Finding(Code.IDENTITY_MISSING, subject, what, evidence, _another_identity(snapshot, trust))
        return
    covering = [credential for credential in held.credentials if credential.covers(trust)]
    if any(trust.audience in credential.audiences for credential in covering):
        return
    add = _phase(snapshot, "create", held, trust, trust.issuer)
    if covering:
        wrong = covering[0]
        what = f"{held.label} trusts its tokens for another audience than they have (AADSTS700212)"
        evidence = (*_difference("audience", trust.audience, ", ".join(wrong.audiences)), f"credential {wrong.name}")
        remove = _phase(snapshot, "delete", held, trust, trust.issuer)
        yield Finding(Code.AUDIENCE_DIFFERS, subject, what, evidence, f"{remove} && {add}")
    elif len(held.credentials) >= MAX_CREDENTIALS:
        yield _full(snapshot, held, trust, add)
    else:
        yield _untrusted(held, trust, add)


def _by_mapping(snapshot: Snapshot, trust: Trust) -> Iterator[str]:
    """The source of the client id, when it is not an annotation."""
    named = snapshot.identity(trust.namespace, trust.service_account)
    if snapshot.mapping and named and named.entry:
        patterns = f"namespace {named.entry.namespace}, serviceAccount {named.entry.service_account}"
        yield f"by {snapshot.mapping.subject}, entry for {patterns}"


def _another_identity(snapshot: Snapshot, trust: Trust) -> str:
    """Make one that trusts the account, and let the account have it: by the mapping, where that says which one."""
    command = identity_command(snapshot, trust.namespace, trust.service_account)
    if not (snapshot.mapping and any(_by_mapping(snapshot, trust))):
        return f"{command} --force-conflicts"
    edit = snapshot.commands.kubectl("edit", "configmap", snapshot.mapping.name, namespace=snapshot.mapping.namespace)
    return f"{command} --skip-phases=service-account && {edit}"


def _untrusted(held: HeldCredentials, trust: Trust, command: str) -> Finding:
    """Compares with the credential that was probably intended for the account, if there is one."""
    subject = f"ServiceAccount {trust.namespace}/{trust.service_account}"
    for credential in held.credentials:
        if credential.subject == trust.subject:
            what = f"{held.label} trusts its tokens by another issuer than they have (AADSTS700211)"
            evidence = (*_difference("issuer", trust.issuer, credential.issuer), f"credential {credential.name}")
            return Finding(Code.ISSUER_DIFFERS, subject, what, evidence, command)
    for credential in held.credentials:
        if credential.issuer == trust.issuer and _alike(credential.subject, trust.subject):
            what = f"{held.label} trusts another subject than its tokens have (AADSTS700213)"
            evidence = (*_difference("subject", trust.subject, credential.subject), f"credential {credential.name}")
            return Finding(Code.SUBJECT_DIFFERS, subject, what, evidence, command)
    what = f"{held.label} has no federated credential for its tokens (AADSTS70021)"
    evidence = (
        f"issuer {trust.issuer}",
        f"subject {trust.subject}",
        f"{len(held.credentials)} credentials are for others",
    )
    return Finding(Code.CREDENTIAL_MISSING, subject, what, evidence, command)


def _alike(one: str, other: str) -> bool:
    """Whether two subjects are one but for case, blanks and punctuation, or name and namespace changed places."""
    parts, others = one.strip().lower().split(":"), other.strip().lower().split(":")
    return sorted(parts) == sorted(others)


def _difference(what: str, ours: str, theirs: str) -> tuple[str, ...]:
    shared = next((at for at, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), None)
    at = min(len(ours), len(theirs)) if shared is None else shared
    return (
        f"{what} of the tokens: {ours!a}",
        f"{what} of the credential: {theirs!a}",
        f"they differ from byte {len(ours[:at].encode()) + 1} on",
    )


def _full(snapshot: Snapshot, held: HeldCredentials, trust: Trust, add: str) -> Finding:
    """Delete a credential that no existing account uses; else another identity is needed."""
    gone = next(_useless(snapshot, held, trust), None)
    if gone is None:
        command = _another_identity(snapshot, trust)
        spare = "none of them is for an account of this cluster that is gone"
    else:
        remove = _phase(snapshot, "delete", held, gone, gone.issuer)
        command = f"{remove} && {add}"
        spare = f"{gone.subject} by {gone.issuer} is of no use"
    return Finding(
        Code.CREDENTIALS_FULL,
        f"ServiceAccount {trust.namespace}/{trust.service_account}",
        f"{held.label} has no federated credential for its tokens, and no room for one more",
        (f"{len(held.credentials)} credentials, and Entra allows {MAX_CREDENTIALS}", spare),
        command,
    )


def _useless(snapshot: Snapshot, held: HeldCredentials, trust: Trust) -> Iterator[Trust]:
    """Credentials that nearly match this account, and those of deleted accounts of this cluster."""
    for credential in held.credentials:
        if credential.nearly_covers(trust) and credential.subject == trust.subject:
            yield Trust(trust.namespace, trust.service_account, credential.issuer, trust.audience)
    for credential in held.credentials:
        namespace, name = _account_of(credential)
        if credential.issuer == trust.issuer and name and snapshot.knows_absent(namespace, name):
            yield Trust(namespace, name, credential.issuer, trust.audience)


def _account_of(credential: FederatedCredential) -> tuple[str, str]:
    namespace, _, name = credential.subject.removeprefix(SUBJECT).partition(":")
    return (namespace, name) if credential.subject.startswith(SUBJECT) else ("", "")


def _phase(snapshot: Snapshot, verb: str, held: HeldCredentials, trust: Trust, issuer: str) -> str:
    words = ["serviceaccount", verb, "phase", "federated-identity", *(held.flags or ())]
    words += ["--service-account-namespace", trust.namespace, "--service-account-name", trust.service_account]
    # What pods have counts, whatever the cloud's own is.
    return (
        f"{snapshot.commands.azwi(*words, '--service-account-issuer-url', issuer)} {line('--audience', trust.audience)}"
    )


CHECKS: Final = (
    Check(
        Group.AZURE,
        "Microsoft Entra trusts the accounts' tokens",
        trusted,
        frozenset({Area.AZURE, Area.ISSUER, Area.ACCOUNTS}),
    ),
)
