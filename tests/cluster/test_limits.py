"""LimitRanges and ResourceQuotas: what `azwi mutate --from-cluster` warns of, the API server refuses, and only that."""

import json
import re
from pathlib import Path

import pytest
from click.testing import Result

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import pod
from testbed.cluster.server import TENANT_ID
from testbed.processes import until
from tests.azwi_cli.test_main import azwi

FITTING = {"cpu": "200m", "memory": "128Mi"}
BOUNDS: dict[str, JsonObject] = {
    "minimum": {"limits": [{"type": "Container", "min": {"cpu": "100m", "memory": "90Mi"}}]},
    "maximum": {"limits": [{"type": "Container", "max": {"cpu": "250m", "memory": "500Mi"}}]},
    "ratio": {"limits": [{"type": "Container", "maxLimitRequestRatio": {"cpu": "4"}}]},
    "defaults": {
        "limits": [
            {
                "type": "Container",
                "min": {"cpu": "100m", "memory": "90Mi"},
                "default": {"cpu": "500m", "memory": "256Mi"},
                "defaultRequest": {"cpu": "100m", "memory": "128Mi"},
            }
        ]
    },
    "pod": {"limits": [{"type": "Pod", "max": {"memory": "150Mi"}}]},
    "wide": {"limits": [{"type": "Container", "min": {"cpu": "5m"}, "max": {"cpu": "2", "memory": "1Gi"}}]},
    "quota": {"hard": {"requests.cpu": "205m"}},
    "quota-of-limits": {"hard": {"limits.memory": "160Mi"}},
    "quota-with-room": {"hard": {"requests.cpu": "2", "limits.memory": "2Gi"}},
}


def proxied(annotations: JsonObject | None = None) -> JsonObject:
    """Write a pod that asks for a proxy, and whose own container is within all bounds."""
    manifest = pod(serviceAccountName="app")
    asked = {names.INJECT_PROXY: "true", names.PROXY_MODE: "environment"}
    manifest["metadata"]["annotations"] = {**asked, **(annotations or {})}
    manifest["spec"]["containers"][0]["resources"] = {"requests": FITTING, "limits": FITTING}
    return manifest


@pytest.mark.parametrize("name", BOUNDS)
def test_as_the_api_server(control_plane: ControlPlane, namespace: str, tmp_path: Path, name: str) -> None:
    """A pod is warned of where the API server refuses it; with the annotations of the warning it is stored."""
    kind = "ResourceQuota" if "hard" in BOUNDS[name] else "LimitRange"
    bounds = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "bounds", "namespace": namespace}}
    control_plane.apply({**bounds, "spec": BOUNDS[name]})
    if kind == "ResourceQuota":  # no controller manager: what is used of it is not counted by itself
        status = {"hard": BOUNDS[name]["hard"], "used": dict.fromkeys(BOUNDS[name]["hard"], "0")}
        patch = json.dumps({"status": status})
        control_plane.kubectl(
            "-n", namespace, "patch", "resourcequota", "bounds", "--subresource=status", "--type=merge", "-p", patch
        )

    def warned(manifest: JsonObject) -> Result:
        (tmp_path / "pod.json").write_text(json.dumps(manifest))
        cluster = ("--from-cluster", "--kubeconfig", str(control_plane.kubeconfig), "-n", namespace)
        return azwi(
            "mutate", "-f", str(tmp_path / "pod.json"), *cluster, "--tenant-id", TENANT_ID, "--explain", "-o", "json"
        )

    manifest = proxied()
    [decision] = json.loads(warned(manifest).stdout)
    assert ("limits" in decision) is (name not in {"wide", "quota-with-room"})
    # What bounds pods counts a moment after it was written.
    create = ("create", "-n", namespace, "--dry-run=server", "-f", "-")
    until(lambda: control_plane.kubectl(*create, stdin=json.dumps(manifest)).returncode == int("limits" in decision))
    if name in {"minimum", "maximum", "ratio", "defaults"}:
        advice = re.findall(rf'({names.PREFIX}[a-z-]+): "([^"]+)"', " ".join(decision["limits"]))
        helped = proxied(dict(advice))
        assert "limits" not in json.loads(warned(helped).stdout)[0]
        text = json.dumps(helped)
        created = control_plane.kubectl("create", "-n", namespace, "--dry-run=server", "-f", "-", stdin=text)
        assert created.returncode == 0, created.stderr
