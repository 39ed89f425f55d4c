"""`azwi policy`."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import Result

from azure_workload_identity import names
from azure_workload_identity.kube_yaml import reader
from testbed.program import TENANT
from tests.azwi_cli.test_main import azwi
from tests.support.schemas import follows_schema
from webhook.admission_policy.limits import MAX_EXPRESSION

CLIENT_ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
ENTRY = {"namespace": "shop", "serviceAccount": "app", "clientId": CLIENT_ID}
SELECTOR = {"matchLabels": {names.USE_LABEL: "true", "team": ""}}


def policy(*arguments: str) -> Result:
    """Run the command with a tenant."""
    return azwi("policy", "--tenant-id", TENANT, *arguments)


def printed(*arguments: str) -> dict[str, Any]:
    """Return the objects that it prints, by kind and name."""
    done = policy(*arguments, "-o", "json")
    assert done.exit_code == 0, done.stderr
    return {f"{item['kind']} {item['metadata']['name']}": item for item in json.loads(done.stdout)["items"]}


def settings(objects: dict[str, Any]) -> dict[str, str]:
    """Return the variables of the policy that injects."""
    variables = objects["MutatingAdmissionPolicy azwi-inject"]["spec"]["variables"]
    return {variable["name"]: variable["expression"] for variable in variables}


def test_formats() -> None:
    """YAML has a comment on each expression, and JSON has the same objects as a list."""
    text = policy().stdout
    assert "# The audience of tokens.\n" in text
    assert follows_schema("policy", policy("-o", "json").stdout)["items"] == [
        document.value for document in reader.read(text)
    ]


def test_options() -> None:
    """Options decide names, versions, failure policy, guard and selectors."""
    objects = printed(
        "--name", "identity", "--guard", "warn", "--failure-policy", "Ignore", "--api-version", "v1beta1",
        "--account-selector", f"{names.USE_LABEL}=true, team=", "--exclude-namespace", "kube-system",
        "--exclude-namespace", "dev",
    )  # fmt: skip
    inject = objects["MutatingAdmissionPolicy identity-inject"]
    assert (inject["apiVersion"].rpartition("/")[2], inject["spec"]["failurePolicy"]) == ("v1beta1", "Ignore")
    binding = objects["MutatingAdmissionPolicyBinding identity-inject-pod-label"]["spec"]
    assert binding["paramRef"]["selector"] == SELECTOR
    [excluded] = binding["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert excluded["values"] == ["kube-system", "dev"]
    guard = objects["ValidatingAdmissionPolicyBinding identity-guard-pod-label"]
    assert (guard["apiVersion"].rpartition("/")[2], guard["spec"]["validationActions"]) == ("v1", ["Warn"])


def test_nothing_excluded() -> None:
    """An empty namespace leaves none out, and a guard can be left out."""
    objects = printed("--exclude-namespace", "", "--guard", "off")
    assert not any("guard" in name for name in objects)
    spec = objects["MutatingAdmissionPolicyBinding azwi-inject-pod-label"]["spec"]
    assert "namespaceSelector" not in spec["matchResources"]


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The webhook's flags, variables and identity mapping become settings of the policies."""
    monkeypatch.setenv("AZURE_ENVIRONMENT", "AzureChinaCloud")
    file = tmp_path / "mapping.yaml"
    file.write_text(yaml.safe_dump({"mappings": [ENTRY, {**ENTRY, "namespace": "team-*"}]}))
    found = settings(printed("--audience", "api://other", "--identity-mapping", str(file)))
    assert "login.chinacloudapi.cn" in found["authorityHost"]
    assert "api://other" in found["audience"]
    assert "shop/app" in found["mappedAccounts"]
    assert "^team-.*$" in found["mappedPatterns"]


def test_refused(tmp_path: Path) -> None:
    """What a policy cannot express is refused with the reason."""
    assert "--tenant-id" in azwi("policy").stderr
    by_configmap = policy("--identity-mapping-configmap", "mapping")
    assert by_configmap.exit_code == 2
    assert "a policy reads only the pod's ServiceAccount" in by_configmap.stderr
    assert policy("--account-selector", "team in (a)").exit_code == 2

    stored = {"kind": "ConfigMap", "data": {names.MAPPING_KEY: yaml.safe_dump({"mappings": [{"namespace": "shop"}]})}}
    file = tmp_path / "mapping.yaml"
    file.write_text(yaml.safe_dump(stored))
    faulty = policy("--identity-mapping", str(file))
    assert (faulty.exit_code, faulty.stdout) == (1, "")
    assert "clientId" in faulty.stderr


def test_large_mapping(tmp_path: Path) -> None:
    """A mapping that is longer than an expression may be is refused with what to do."""
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps({"mappings": [{**ENTRY, "namespace": f"shop-{number}"} for number in range(1000)]}))
    done = policy("--identity-mapping", str(file))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "1000 entries" in done.stderr
    assert str(MAX_EXPRESSION) in done.stderr
