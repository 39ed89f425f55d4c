"""`azwi policy` prints what the chart installs."""

import json
from pathlib import Path

import pytest
import yaml

from azure_workload_identity import names
from testbed.program import TENANT
from tests.azwi_cli.test_main import azwi
from tests.chart.helm import NAMESPACE, Helm, rendered
from tests.chart.test_policy import MAPPINGS, NAME, POLICY, of_policy

# Helm renders for half a second.
pytestmark = pytest.mark.renders


def test_same_objects(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same settings, the objects are those of engine=policy, up to the chart's labels."""
    values = {
        **POLICY,
        "azureTenantID": TENANT,
        "audience": "api://other",
        "proxy.image.registry": "registry.example",
        "proxy.image.repository": "proxy",
        "proxy.image.release": "1",
        "identityMapping.mappings": MAPPINGS,
        "policy.guard": "warn",
        "policy.accountSelector": {"matchLabels": {names.USE_LABEL: "true"}},
    }
    file = tmp_path / "mapping.yaml"
    file.write_text(yaml.safe_dump({"mappings": MAPPINGS}))
    monkeypatch.setenv("PROXY_IMAGE", "registry.example/proxy:1")
    done = azwi(
        "policy", "--name", NAME, "--tenant-id", TENANT, "--audience", "api://other", "--identity-mapping", str(file),
        "--guard", "warn", "--account-selector", f"{names.USE_LABEL}=true", "-o", "json",
        "--exclude-namespace", "kube-system", "--exclude-namespace", NAMESPACE,
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert of_policy(rendered(helm, values)) == of_policy(json.loads(done.stdout)["items"])
