"""Do the served certificate and the caBundle agree, and for how long?"""

from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from azwi.commands.doctor import certificates
from azwi.commands.doctor.findings import Code, Finding
from azwi.commands.doctor.fixes import line
from azwi.commands.doctor.snapshot import Installation, Snapshot

# A server renews when a third of 90 days is left; with a week left, nobody does.
SOON: Final = timedelta(days=7)


def agree(snapshot: Snapshot) -> Iterator[Finding]:
    """The API server trusts what is served, by the name that it calls."""
    for each in snapshot.installations or ():
        if not each.service_key[1] or each.service == {} or not each.certificates:
            continue
        served, own = each.certificates["tls.crt"], each.certificates.get("ca.crt", b"")
        host = f"{each.service_key[1]}.{each.service_key[0]}.svc"
        if fault := certificates.complaint(served, own or served, host, snapshot.now):
            yield _unusable(snapshot, each, host, fault)
        else:
            yield from _bundles(snapshot, each, host)
            yield from _expiring(snapshot, each)


def _unusable(snapshot: Snapshot, each: Installation, host: str, fault: str) -> Finding:
    return Finding(
        Code.CERTIFICATE_UNUSABLE,
        f"Secret {each.service_key[0]}/{each.secret_name}",
        "the certificate that the webhook serves cannot be used",
        (f"for {host}: {fault}",),
        _renewal(snapshot, each),
    )


def _renewal(snapshot: Snapshot, each: Installation) -> str:
    """Who makes the Secret's content, the server or cert-manager, makes it anew once it is gone; else a person does.

    The Secret itself stays: v1.6.0 does not make it.
    """
    namespace, tools = each.service_key[0], snapshot.tools
    if not (each.deployment and (each.manages_certificates or each.by_cert_manager)):
        # Not `create secret tls`: the type of a Secret that is there cannot be changed. Applied at the server, so that
        # no annotation gets a copy of the key.
        authority = ["ca.crt"] if "ca.crt" in (each.certificates or {}) else []
        files = [f"--from-file={name}" for name in (*authority, "tls.crt", "tls.key")]
        create = ("create", "secret", "generic", each.secret_name, *files, "--dry-run=client", "-o", "yaml")
        apply = tools.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-")
        return f"{tools.kubectl(*create, namespace=namespace)} | {apply}"
    empty = '[{"op":"remove","path":"/data"}]'
    emptied = tools.kubectl("patch", "secret", each.secret_name, "--type=json", "-p", empty, namespace=namespace)
    name = f"deployment/{each.deployment['metadata']['name']}"
    return f"{emptied} && {tools.kubectl('rollout', 'restart', name, namespace=namespace)}"


def _bundles(snapshot: Snapshot, each: Installation, host: str) -> Iterator[Finding]:
    served = (each.certificates or {})["tls.crt"]
    faults: dict[int, str] = {}
    for number, entry in enumerate(each.webhooks):
        bundle = b64decode((entry.get("clientConfig") or {}).get("caBundle") or "")
        fault = certificates.complaint(served, bundle, host, snapshot.now) if bundle.strip() else "it is empty"
        if fault:
            faults[number] = fault
    if not faults:
        return
    empty = set(faults.values()) == {"it is empty"}
    yield Finding(
        Code.CABUNDLE_EMPTY if empty else Code.CABUNDLE_MISMATCH,
        each.subject,
        "its caBundle is empty, so the API server does not trust the webhook"
        if empty
        else "its caBundle does not fit the certificate that the webhook serves",
        tuple(f"webhook {each.webhooks[number].get('name')}: {fault}" for number, fault in faults.items()),
        _carry(snapshot, each, list(faults)),
    )


def _carry(snapshot: Snapshot, each: Installation, numbers: list[int]) -> str:
    """Write the CA of the Secret into the configuration; the shell fetches it, since it is long."""
    source = "ca.crt" if "ca.crt" in (each.certificates or {}) else "tls.crt"
    path = "{.data." + source.replace(".", r"\.") + "}"
    read = snapshot.tools.kubectl(
        "get", "secret", each.secret_name, "-o", f"jsonpath={path}", namespace=each.service_key[0]
    )
    operations = ",".join(
        f'{{"op":"add","path":"/webhooks/{number}/clientConfig/caBundle","value":"%s"}}' for number in numbers
    )
    values = " ".join(['"$ca"'] * len(numbers))
    patch = snapshot.tools.kubectl("patch", "mutatingwebhookconfiguration", each.name, "--type=json", "-p")
    return f'ca="$({read})" && {patch} "$(printf {line(f"[{operations}]")} {values})"'


def _expiring(snapshot: Snapshot, each: Installation) -> Iterator[Finding]:
    ends = certificates.expires((each.certificates or {})["tls.crt"])
    if ends is not None and ends - snapshot.now < SOON:
        yield Finding(
            Code.CERTIFICATE_EXPIRING,
            f"Secret {each.service_key[0]}/{each.secret_name}",
            f"the certificate that the webhook serves ends within {SOON.days} days, and nobody has renewed it",
            (f"it ends at {ends:%Y-%m-%d %H:%M:%S} UTC",),
            _renewal(snapshot, each),
        )


CHECKS: Final = (agree,)
