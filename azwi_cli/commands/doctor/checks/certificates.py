"""Do the served certificate and the caBundle agree, and for how long?"""

from base64 import b64decode
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor import certificates
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.fixes import line
from azwi_cli.commands.doctor.snapshot import Installation, Snapshot

# Certificates of 90 days are renewed 30 days before they expire; a week is too late.
SOON: Final = timedelta(days=7)
# Annotations by which cert-manager's CA injector writes a caBundle.
INJECTORS: Final = (
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
)


def agree(snapshot: Snapshot) -> Iterator[Finding]:
    """The API server trusts what is served, by the name that it calls."""
    for installation in snapshot.installations or ():
        if not installation.service_key[1] or installation.service == {} or not installation.certificates:
            continue
        served, own = installation.certificates["tls.crt"], installation.certificates.get("ca.crt", b"")
        host = f"{installation.service_key[1]}.{installation.service_key[0]}.svc"
        if fault := certificates.unusable_reason(served, own or served, host, snapshot.now):
            yield _unusable(snapshot, installation, host, fault)
        else:
            yield from _bundles(snapshot, installation, host)
            yield from _expiring(snapshot, installation)


def _unusable(snapshot: Snapshot, installation: Installation, host: str, fault: str) -> Finding:
    return Finding(
        Code.CERTIFICATE_UNUSABLE,
        f"Secret {installation.service_key[0]}/{installation.secret_name}",
        "the certificate that the webhook serves cannot be used",
        (f"for {host}: {fault}",),
        _renewal(snapshot, installation),
    )


def _renewal(snapshot: Snapshot, installation: Installation) -> str:
    """An emptied Secret is filled again by its writer, the server or cert-manager; without one, by a person.

    The Secret itself stays: v1.6.0 does not make it.
    """
    namespace, commands = installation.service_key[0], snapshot.commands
    if not (installation.deployment and (installation.manages_certificates or installation.by_cert_manager)):
        # Not `create secret tls`: the type of a Secret that is there cannot be changed. Applied at the server, so that
        # no annotation gets a copy of the key.
        authority = ["ca.crt"] if "ca.crt" in (installation.certificates or {}) else []
        files = [f"--from-file={name}" for name in (*authority, "tls.crt", "tls.key")]
        create = ("create", "secret", "generic", installation.secret_name, *files, "--dry-run=client", "-o", "yaml")
        apply = commands.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-")
        return f"{commands.kubectl(*create, namespace=namespace)} | {apply}"
    empty = '[{"op":"remove","path":"/data"}]'
    emptied = commands.kubectl(
        "patch", "secret", installation.secret_name, "--type=json", "-p", empty, namespace=namespace
    )
    name = f"deployment/{installation.deployment['metadata']['name']}"
    return f"{emptied} && {commands.kubectl('rollout', 'restart', name, namespace=namespace)}"


def _bundles(snapshot: Snapshot, installation: Installation, host: str) -> Iterator[Finding]:
    served = (installation.certificates or {})["tls.crt"]
    faults: dict[int, str] = {}
    for number, entry in enumerate(installation.webhooks):
        bundle = b64decode((entry.get("clientConfig") or {}).get("caBundle") or "")
        fault = certificates.unusable_reason(served, bundle, host, snapshot.now) if bundle.strip() else "it is empty"
        if fault:
            faults[number] = fault
    if not faults:
        return
    empty = set(faults.values()) == {"it is empty"}
    yield Finding(
        Code.CABUNDLE_EMPTY if empty else Code.CABUNDLE_MISMATCH,
        installation.subject,
        "its caBundle is empty, so the API server does not trust the webhook"
        if empty
        else "its caBundle does not fit the certificate that the webhook serves",
        tuple(f"webhook {installation.webhooks[number].get('name')}: {fault}" for number, fault in faults.items()),
        _carry(snapshot, installation, list(faults)),
    )


def _carry(snapshot: Snapshot, installation: Installation, numbers: list[int]) -> str:
    """Write the CA of the Secret into the configuration; the shell fetches it, since it is long."""
    source = "ca.crt" if "ca.crt" in (installation.certificates or {}) else "tls.crt"
    path = "{.data." + source.replace(".", r"\.") + "}"
    read = snapshot.commands.kubectl(
        "get", "secret", installation.secret_name, "-o", f"jsonpath={path}", namespace=installation.service_key[0]
    )
    operations = ",".join(
        f'{{"op":"add","path":"/webhooks/{number}/clientConfig/caBundle","value":"%s"}}' for number in numbers
    )
    values = " ".join(['"$ca"'] * len(numbers))
    patch = snapshot.commands.kubectl("patch", "mutatingwebhookconfiguration", installation.name, "--type=json", "-p")
    return f'ca="$({read})" && {patch} "$(printf {line(f"[{operations}]")} {values})"'


def _expiring(snapshot: Snapshot, installation: Installation) -> Iterator[Finding]:
    ends = certificates.expires((installation.certificates or {})["tls.crt"])
    if ends is not None and ends - snapshot.now < SOON:
        yield Finding(
            Code.CERTIFICATE_EXPIRING,
            f"Secret {installation.service_key[0]}/{installation.secret_name}",
            f"the certificate that the webhook serves ends within {SOON.days} days, and has not been renewed",
            (f"it ends at {ends:%Y-%m-%d %H:%M:%S} UTC",),
            _renewal(snapshot, installation),
        )


def contested(snapshot: Snapshot) -> Iterator[Finding]:
    """One writes the caBundle: the server, cert-manager's injector, or a person."""
    for installation in snapshot.installations or ():
        annotations = installation.configuration["metadata"].get("annotations") or {}
        injected = [key for key in INJECTORS if key in annotations]
        if injected and installation.manages_certificates:
            yield Finding(
                Code.CABUNDLE_CONTESTED,
                installation.subject,
                "both the webhook's server and cert-manager's injector write its caBundle, in turns",
                (*(f"annotation {key}={annotations[key]}" for key in injected), "no --disable-cert-rotation"),
                snapshot.commands.annotate(
                    "mutatingwebhookconfiguration", "", installation.name, dict.fromkeys(injected)
                ),
            )
        else:
            yield from _several_managers(snapshot, installation)


def _several_managers(snapshot: Snapshot, installation: Installation) -> Iterator[Finding]:
    """By managedFields: https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management."""
    entries = installation.configuration["metadata"].get("managedFields") or ()
    owning = [(number, entry) for number, entry in enumerate(entries) if "f:caBundle" in str(entry.get("fieldsV1"))]
    if len({entry["manager"] for _, entry in owning}) < 2:  # noqa: PLR2004  one is as it should be
        return
    newest = max(owning, key=lambda found: str(found[1].get("time")))
    operations: list[JsonObject] = []
    for number, entry in reversed(owning):
        if entry["manager"] != newest[1]["manager"]:
            path = f"/metadata/managedFields/{number}"
            operations.append({"op": "test", "path": f"{path}/manager", "value": entry["manager"]})
            operations.append({"op": "remove", "path": path})
    yield Finding(
        Code.CABUNDLE_CONTESTED,
        installation.subject,
        "several managers own its caBundle: when one of them writes again, the others' is gone",
        tuple(f"{entry['manager']} ({entry.get('operation')}) at {entry.get('time')}" for _, entry in owning),
        snapshot.commands.patch("mutatingwebhookconfiguration", installation.name, operations),
    )


CHECKS: Final = (
    Check(
        Group.CERTIFICATES,
        "the API server trusts the served certificate, which does not expire soon",
        agree,
        frozenset({Area.WEBHOOKS, Area.SERVER, Area.SECRET}),
    ),
    Check(Group.CERTIFICATES, "one writer keeps the caBundle", contested, frozenset({Area.WEBHOOKS})),
)
