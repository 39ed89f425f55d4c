"""What the webhook was set up with: by its Deployment, and the identity mapping that this names; or by its policies."""

# ruff: noqa: PLC0415  few installations have an identity mapping

from collections.abc import Mapping
from dataclasses import replace

from azure_workload_identity import names
from azwi_cli.cluster import kube
from azwi_cli.commands.doctor import settings
from azwi_cli.commands.doctor.engine import settings_of
from azwi_cli.commands.doctor.findings import Area, Unreadable
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import Snapshot, StoredMapping, arguments, release_of
from webhook.admission.identity import IdentityMapping


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read that of the first Deployment that is found, else of the first policy that injects, else the defaults."""
    installation = next((found for found in snapshot.installations or () if found.deployment), None)
    if installation is None or not installation.deployment:
        injecting = snapshot.engine.bound() if snapshot.engine else []
        found = settings.policy(*settings_of(injecting[0])) if injecting else settings.default()
        return replace(snapshot, policy=found)
    container = installation.deployment["spec"]["template"]["spec"]["containers"][0]
    environ = {variable["name"]: variable["value"] for variable in container.get("env") or () if variable.get("value")}
    line = arguments(installation.deployment)
    namespace, _ = installation.service_key
    for source in container.get("envFrom") or ():
        environ = {**_config_map(reader, namespace, (source.get("configMapRef") or {}).get("name", "")), **environ}
    mapping, stored = IdentityMapping(), None
    if config_map := settings.flag(line, "identity-mapping-configmap"):
        mapping, stored = _mapping(reader, namespace, config_map)
    elif file := settings.flag(line, "identity-mapping"):
        reader.unreadable.append(
            Unreadable("the identity mapping", f"it is in {file} of the server's pods", Area.MAPPING)
        )
        stored = StoredMapping(namespace, file, there=None)
    return replace(
        snapshot,
        policy=settings.policy(line, environ, mapping),
        mapping=stored,
        has_token_proxy=names.ENV_TOKEN_PROXY in environ,
    )


def _config_map(reader: Reader, namespace: str, name: str) -> Mapping[str, str]:
    if not name:
        return {}
    found = reader.find(Area.MAPPING, f"ConfigMap {namespace}/{name}", kube.path("v1", "configmaps", namespace, name))
    return (found or {}).get("data") or {}


def _mapping(reader: Reader, namespace: str, name: str) -> tuple[IdentityMapping, StoredMapping]:
    """The valid entries, and the state of their ConfigMap."""
    from webhook.config import identity_mapping

    found = reader.find(Area.MAPPING, f"ConfigMap {namespace}/{name}", kube.path("v1", "configmaps", namespace, name))
    if not found:
        return IdentityMapping(), StoredMapping(namespace, name, there=None if found is None else False)
    stored = StoredMapping(namespace, name, release=release_of(found))
    try:
        parsed = identity_mapping.parse_configmap(found.get("data"))
    except ValueError as error:
        return IdentityMapping(), replace(stored, broken=str(error))
    return IdentityMapping(parsed.entries), replace(stored, faults=parsed.faults)
