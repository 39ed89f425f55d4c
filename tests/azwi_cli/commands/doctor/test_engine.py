"""What the doctor makes of admission policies, without a cluster."""

import copy
import json
from pathlib import Path
from typing import Any, cast

import yaml

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.doctor.engine import PolicyEngine, is_workload_identity, settings_of
from azwi_cli.commands.doctor.findings import Area, Code
from azwi_cli.commands.doctor.reads import probe
from azwi_cli.commands.doctor.reads.reader import Reader
from testbed.program import TENANT
from tests.azwi_cli.commands.doctor.snapshots import CLIENT_ID, examine, installation, snapshot
from tests.azwi_cli.test_main import azwi
from webhook.admission.policy import OptIn


def engine(*arguments: str, served: bool = True) -> PolicyEngine:
    """Return the objects of azwi policy as the doctor reads them."""
    items = json.loads(azwi("policy", "--tenant-id", TENANT, "-o", "json", *arguments).stdout)["items"]
    bindings = [item for item in items if item["kind"].endswith("Binding")]
    return PolicyEngine(served, [item for item in items if item not in bindings], bindings)


def codes(found: PolicyEngine, **fields: Any) -> set[Code]:  # noqa: ANN401  fields
    """Return the codes that are found of the engine."""
    return {finding.code for finding in examine(snapshot(**{"installations": [], **fields, "engine": found})).findings}


def test_no_webhook_needed() -> None:
    """Where policies inject, a missing webhook is no problem; where nothing does, it is."""
    assert codes(engine()) == set()
    assert codes(PolicyEngine()) == {Code.NOT_INSTALLED}
    unread = examine(snapshot(installations=[], engine=None))
    assert unread.findings == []


def test_call_not_tried() -> None:
    """Where policies inject, the call of a webhook has not been looked at, which is no all-clear."""
    reader = Reader(cast("Cluster", None))
    seen = probe.read(reader, snapshot(installations=[], engine=engine()))
    assert seen.probe is None
    assert [gap.area for gap in reader.unreadable] == [Area.CALL]


def test_own_policies_only() -> None:
    """All policies of azwi policy are known as this project's, and no others."""
    assert all(map(is_workload_identity, engine().policies))
    other: JsonObject = {"spec": {"variables": [{"name": "x", "expression": "object.metadata.name"}]}}
    assert not is_workload_identity(other)


def test_not_served() -> None:
    """Policies that validate on an API server without those that inject are found."""
    whole = engine()
    validating = PolicyEngine(
        served=False,
        policies=[policy for policy in whole.policies if policy["kind"].startswith("Validating")],
        bindings=[binding for binding in whole.bindings if binding["kind"].startswith("Validating")],
    )
    found = examine(snapshot(installations=[], engine=validating)).findings
    assert {finding.code for finding in found} == {Code.POLICIES_NOT_SERVED, Code.NOT_INSTALLED}
    assert all(f"/azwi-{kind} " in found[-1].fix + found[0].fix + " " for kind in ("refuse", "warn", "guard"))


def test_both() -> None:
    """A webhook that leaves pods to policies is no leftover, and is the guard where their errors are ignored."""
    left = installation(matchConditions=[{"name": "left-by-policy", "expression": "true"}])
    found = engine("--guard", "off", "--failure-policy", "Ignore")
    assert Code.ENGINE_LEFTOVER not in codes(found, installations=[left])
    assert Code.GUARD_OFF not in codes(found, installations=[left])
    assert {Code.ENGINE_LEFTOVER, Code.GUARD_OFF} <= codes(found, installations=[installation()])


def test_helm_release() -> None:
    """What Helm has installed is repaired and removed by Helm."""
    whole = copy.deepcopy(engine("--guard", "off", "--failure-policy", "Ignore"))
    annotations = {"meta.helm.sh/release-name": "azwi", "meta.helm.sh/release-namespace": "azwi-system"}
    for found in (*whole.policies, *whole.bindings):
        found["metadata"]["annotations"] = annotations
    [finding] = examine(snapshot(installations=[], engine=whole)).findings
    assert finding.fix.startswith("helm upgrade azwi ")
    assert "policy.failurePolicy=Fail" in finding.fix


def test_settings(tmp_path: Path) -> None:
    """The settings and the identity mapping of a policy are read as those of a server."""
    entries = [
        {"namespace": "shop", "serviceAccount": "web", "clientId": CLIENT_ID},
        {"namespace": "team-[!a]?.x", "serviceAccount": "*", "clientId": CLIENT_ID},
    ]
    file = tmp_path / "mapping.yaml"
    file.write_text(yaml.safe_dump({"mappings": entries}))
    [policy] = engine("--identity-mapping", str(file), "--audience", "api://x", "--opt-in", "namespace-label").bound()
    line, environ, mapping = settings_of(policy)
    assert environ["AZURE_TENANT_ID"] == TENANT
    assert {"--audience=api://x", f"--opt-in={OptIn.NAMESPACE_LABEL}"} <= set(line)
    assert {(entry.namespace, entry.service_account) for entry in mapping.entries} == {
        (entry["namespace"], entry["serviceAccount"]) for entry in entries
    }
