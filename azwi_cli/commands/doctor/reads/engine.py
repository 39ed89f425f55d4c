"""The policies by which the API server injects identities itself, and their bindings."""

from dataclasses import replace
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster import kube
from azwi_cli.commands.doctor.engine import GROUP, PolicyEngine, is_workload_identity
from azwi_cli.commands.doctor.findings import Area
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import Snapshot

WHAT: Final = "admission policies"
VERSIONS: Final = ("v1", "v1beta1")


def read(reader: Reader, snapshot: Snapshot) -> Snapshot:
    """Read them; None where they cannot be read."""
    return replace(snapshot, engine=_engine(reader))


def _engine(reader: Reader) -> PolicyEngine | None:
    version = _served(reader)
    if version is None:
        return None
    policies: list[JsonObject] = []
    bindings: list[JsonObject] = []
    for kind, at in (("Mutating", version), ("Validating", VERSIONS[0])):
        if not at:
            continue
        for objects, suffix, plural in ((policies, "", "policies"), (bindings, "Binding", "policybindings")):
            path = kube.path(f"{GROUP}/{at}", f"{kind.lower()}admission{plural}")
            listed = reader.list(Area.ENGINE, WHAT, path)
            if listed is None:
                return None
            head = {"apiVersion": f"{GROUP}/{at}", "kind": f"{kind}AdmissionPolicy{suffix}"}
            objects.extend({**item, **head} for item in listed)
    policies = [policy for policy in policies if is_workload_identity(policy)]
    known = {policy["metadata"]["name"] for policy in policies}
    bindings = [binding for binding in bindings if _belongs(binding, known)]
    return PolicyEngine(bool(version), policies, bindings)


def _served(reader: Reader) -> str | None:
    """The version of MutatingAdmissionPolicy, empty where there is none, None where that may not be read."""
    for version in VERSIONS:
        found = reader.find(Area.ENGINE, WHAT, f"/apis/{GROUP}/{version}")
        if found is None:
            return None
        if any(resource["name"] == "mutatingadmissionpolicies" for resource in found.get("resources") or ()):
            return version
    return ""


def _belongs(binding: JsonObject, policies: set[str]) -> bool:
    """Whether a binding is of one of the policies, or of one of their installation that is missing."""
    name = str(binding["spec"].get("policyName"))
    return name in policies or any(name.rpartition("-")[0] == policy.rpartition("-")[0] for policy in policies)
