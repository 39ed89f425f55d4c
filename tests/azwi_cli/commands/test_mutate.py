"""`azwi mutate`."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonpatch
import pytest
import yaml
from click.testing import CliRunner, Result

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.main import program
from testbed.program import ROOT, TENANT
from webhook.admission.review import Decision

CLIENT_ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
ACCOUNT: JsonObject = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "app", "annotations": {names.CLIENT_ID: CLIENT_ID}},
}
TEMPLATE: JsonObject = {
    "metadata": {"labels": {names.USE_LABEL: "true"}},
    "spec": {"serviceAccountName": "app", "containers": [{"name": "app", "image": "registry.test/app:1"}]},
}
DEPLOYMENT: JsonObject = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 2, "template": TEMPLATE},
}


def ran(*documents: object, arguments: tuple[str, ...] = (), tenant: str = TENANT) -> Result:
    """Run the command with documents at stdin."""
    text = yaml.safe_dump_all(documents)
    environment = {"AZURE_TENANT_ID": tenant}
    return CliRunner().invoke(program, ["mutate", "-f", "-", *arguments], input=text, env=environment)


def variables(pod: Any) -> dict[str, str]:  # noqa: ANN401  of YAML
    """Return the variables of a pod's first container."""
    return {entry["name"]: entry["value"] for entry in pod["spec"]["containers"][0].get("env", [])}


def test_stream() -> None:
    """Accounts among the documents count, what is no workload passes through, and everything keeps its order."""
    done = ran(ACCOUNT, {"kind": "Service", "metadata": {"name": "web"}}, DEPLOYMENT)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    account, service, deployment = yaml.safe_load_all(done.stdout)
    assert (account, service["kind"]) == (ACCOUNT, "Service")
    assert variables(deployment["spec"]["template"])["AZURE_CLIENT_ID"] == CLIENT_ID
    assert variables(deployment["spec"]["template"])["AZURE_TENANT_ID"] == TENANT


def test_account_file(tmp_path: Path) -> None:
    """An account of another file counts."""
    (tmp_path / "sa.yaml").write_text(yaml.safe_dump(ACCOUNT))
    done = ran(DEPLOYMENT, arguments=("--service-account", str(tmp_path / "sa.yaml"), "-o", "json"))
    assert variables(json.loads(done.stdout)["spec"]["template"])["AZURE_CLIENT_ID"] == CLIENT_ID


def test_namespace() -> None:
    """--namespace is that of documents which name none, as with kubectl."""
    done = ran(ACCOUNT, DEPLOYMENT, arguments=("-n", "shop", "-o", "table"))
    assert "Deployment shop/web" in done.stdout
    assert done.exit_code == 0, done.output


def test_patch() -> None:
    """A single document's patch stands alone and makes of it what the manifest shows."""
    listed = {"apiVersion": "v1", "kind": "List", "items": [ACCOUNT, DEPLOYMENT]}
    patch = json.loads(ran(listed, arguments=("-o", "patch")).stdout)
    assert all(operation["path"].startswith("/items/1/spec/template/spec/") for operation in patch)
    assert jsonpatch.apply_patch(listed, patch) == yaml.safe_load(ran(listed).stdout)
    several = json.loads(ran(ACCOUNT, DEPLOYMENT, arguments=("-o", "patch")).stdout)
    assert [(each["kind"], each["name"], bool(each["patch"])) for each in several] == [("Deployment", "web", True)]


def test_diff() -> None:
    """A diff marks what is injected, without colour where there is no terminal."""
    done = ran({"apiVersion": "v1", "kind": "List", "items": [ACCOUNT, DEPLOYMENT]}, arguments=("-o", "diff"))
    marked = [line[2:].strip() for line in done.stdout.splitlines() if line.startswith("+ ")]
    assert "- name: AZURE_CLIENT_ID" in marked
    assert "kind: Deployment" not in marked
    assert "\x1b" not in done.stdout


def test_refused() -> None:
    """What is refused prints no manifest, ends with 1, and says why and what to do."""
    done = ran(DEPLOYMENT)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "Deployment default/web" in done.stderr
    assert "(service-account-not-found)" in done.stderr
    assert "--service-account" in done.stderr


def test_explain() -> None:
    """Decisions are printed with reasons and warnings, refusals too, and the exit status is the same."""
    careless = copy.deepcopy(DEPLOYMENT)
    careless["metadata"] = {"name": "careless"}
    careless["spec"]["template"]["metadata"]["annotations"] = {"azure.workload.identity/skip-container": "x"}
    lost = {**DEPLOYMENT, "metadata": {"name": "lost", "namespace": "other"}}
    done = ran(ACCOUNT, DEPLOYMENT, careless, lost, arguments=("--explain",))
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[1].split() == ["Deployment", "default/web", "app", "mutate", "injected"]
    assert "(unknown-key)" in lines[3]
    assert lines[4].split() == ["Deployment", "other/lost", "app", "refuse", "service-account-not-found"]
    assert lines[5].startswith("  refused: ")

    machines = json.loads(ran(ACCOUNT, careless, arguments=("--explain", "-o", "json")).stdout)
    assert machines[0]["warnings"][0]["code"] == "unknown-key"
    assert machines[0]["decision"] == Decision.MUTATE


def test_strict() -> None:
    """Warnings are told of and end with 1 where --strict is given."""
    pod = {"kind": "Pod", **TEMPLATE, "spec": {"containers": [{"name": "app"}]}}
    lenient = ran(pod)
    assert lenient.exit_code == 0
    assert "(no-client-id)" in lenient.stderr
    assert ran(pod, arguments=("--strict",)).exit_code == 1


def test_start() -> None:
    """Nothing is loaded that a decision does not need."""
    code = (
        "import sys; from azwi_cli.main import program;"
        f"program.main(['mutate', '--tenant-id={TENANT}', '-f', 'examples/quickstart.yaml'], standalone_mode=False);"
        "print(sorted({'aiohttp', 'asyncio', 'cryptography', 'kubernetes', 'rich', 'urllib3'} & sys.modules.keys()))"
    )
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.endswith("\n[]\n")


def test_nothing() -> None:
    """No manifests at all fail, since a pipe whose beginning failed looks like that."""
    done = ran()
    assert done.exit_code == 1
    assert "no manifests in -" in done.stderr


def test_usage() -> None:
    """Decisions have no patch, and without manifests it is wrong usage."""
    assert ran(DEPLOYMENT, arguments=("--explain", "-o", "patch")).exit_code == 2
    assert CliRunner().invoke(program, ["mutate"]).exit_code == 2


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_examples(example: Path) -> None:
    """Every example of the project is mutated without a refusal."""
    if example.stem == "identity-mapping":
        return
    done = CliRunner().invoke(program, ["mutate", "-f", str(example), "--tenant-id", TENANT, "--explain"])
    assert done.exit_code == 0, done.output
