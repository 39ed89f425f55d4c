"""`azwi mutate`."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import jsonpatch
import pytest
import yaml
from click.testing import CliRunner, Result

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.console import terminal
from azwi_cli.main import program
from testbed.program import ROOT, TENANT
from tests.support.schemas import follows_schema
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
    """Accounts among the documents count, other objects pass through, and everything keeps its order."""
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
    assert [(patch["kind"], patch["name"], bool(patch["patch"])) for patch in several] == [("Deployment", "web", True)]


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
    """Warnings are printed, and with --strict the exit status is 1."""
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
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.endswith("\n[]\n")


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


def test_examples_folder() -> None:
    """The whole folder of examples is read at once, the identity mapping in it too."""
    arguments = ["mutate", "-f", str(ROOT / "examples"), "--tenant-id", TENANT]
    done = CliRunner().invoke(program, [*arguments, "--explain"])
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    manifests = [path.read_text() for path in (ROOT / "examples").glob("*.yaml") if path.stem != "identity-mapping"]
    written = list(yaml.safe_load_all(CliRunner().invoke(program, arguments).stdout))
    assert len(written) == sum(len(list(yaml.safe_load_all(text))) for text in manifests) > 10


def test_clock() -> None:
    """Times, ratios and dates without quotes stay the text that kubectl sends, and are written so that they stay it."""
    text = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: nightly}
spec:
  template:
    metadata:
      labels: {azure.workload.identity/use: "true"}
      annotations: {example.com/maintenance-window: 22:30}
    spec:
      containers:
      - name: app
        args: [--user, 1000:50]
        env: [{name: RUN_AT, value: 12:30}, {name: DAY, value: 2026-01-02}]
"""
    done = CliRunner().invoke(program, ["mutate", "-f", "-", "--tenant-id", TENANT], input=text)
    assert done.exit_code == 0, done.output
    template = yaml.safe_load(done.stdout)["spec"]["template"]
    assert template["metadata"]["annotations"] == {"example.com/maintenance-window": "22:30"}
    assert template["spec"]["containers"][0]["args"] == ["--user", "1000:50"]
    values = {entry["name"]: entry["value"] for entry in template["spec"]["containers"][0]["env"]}
    assert (values["RUN_AT"], values["DAY"]) == ("12:30", "2026-01-02")


def test_scaled_job() -> None:
    """A template of a kind that Kubernetes does not know is admitted like any other."""
    scaled_job = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledJob",
        "metadata": {"name": "crunch"},
        "spec": {"jobTargetRef": {"template": TEMPLATE}},
    }
    done = ran(ACCOUNT, scaled_job, arguments=("-o", "json"))
    [_, mutated] = json.loads(done.stdout)["items"]
    assert variables(mutated["spec"]["jobTargetRef"]["template"])["AZURE_CLIENT_ID"] == CLIENT_ID
    refused = ran(scaled_job)
    assert (refused.exit_code, "ScaledJob default/crunch" in refused.stderr) == (1, True)


def test_knative() -> None:
    """A container without a name is admitted under the one that Knative gives it, which is reported and not written."""
    template = copy.deepcopy(TEMPLATE)
    del template["spec"]["containers"][0]["name"]
    service = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "hello"}}
    service["spec"] = {"template": template}
    explained = ran(ACCOUNT, service, arguments=("--explain",))
    assert "note: Knative is assumed to name containers without a name user-container" in explained.stdout
    mutated = json.loads(ran(ACCOUNT, service, arguments=("-o", "json")).stdout)["items"][1]["spec"]["template"]
    assert variables(mutated)["AZURE_CLIENT_ID"] == CLIENT_ID
    assert "name" not in mutated["spec"]["containers"][0]


def test_composed() -> None:
    """The pods of an Argo Workflow are decided about, and its manifest stays as it is."""
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "build-"},
        "spec": {
            "serviceAccountName": "app",
            "podMetadata": {"labels": {names.USE_LABEL: "true"}},
            "templates": [{"name": "build", "container": {"image": "registry.test/app:1"}}],
        },
    }
    [decision] = json.loads(ran(ACCOUNT, workflow, arguments=("--explain", "-o", "json")).stdout)
    assert (decision["decision"], decision["name"]) == (Decision.MUTATE, "build-")
    assert "as Argo would" in decision["assumption"]
    assert list(yaml.safe_load_all(ran(ACCOUNT, workflow).stdout)) == [ACCOUNT, workflow]


def test_not_looked_at() -> None:
    """An object that may lead to pods and has no template is named, and --strict fails on it unless it is ignored."""
    kafka = {"apiVersion": "kafka.strimzi.io/v1beta2", "kind": "Kafka", "metadata": {"name": "events"}, "spec": {}}
    lenient = ran(ACCOUNT, DEPLOYMENT, kafka)
    assert lenient.exit_code == 0
    assert "Kafka default/events was not looked at: no pod template was found in it" in lenient.stderr
    strict = ran(ACCOUNT, DEPLOYMENT, kafka, arguments=("--strict",))
    assert (strict.exit_code, "1 warning, and --strict was given" in strict.stderr) == (1, True)
    ignored = ran(ACCOUNT, DEPLOYMENT, kafka, arguments=("--strict", "--ignore-kind", "Kafka"))
    assert (ignored.exit_code, ignored.stderr) == (0, "")


def test_account_number() -> None:
    """A number in an annotation of a ServiceAccount is refused, as the API server does and as it is on a pod."""
    account = copy.deepcopy(ACCOUNT)
    account["metadata"]["annotations"][names.TOKEN_EXPIRATION] = 7200
    done = ran(account, DEPLOYMENT)
    assert (done.exit_code, done.stdout) == (1, "")
    assert (
        f"ServiceAccount default/app: metadata.annotations['{names.TOKEN_EXPIRATION}'] must be a string" in done.stderr
    )


def test_unknown_tenant() -> None:
    """An unknown tenant is warned of where a pod needs it, and fails --strict only there."""
    used = ran(ACCOUNT, DEPLOYMENT, arguments=("--strict",), tenant="")
    assert used.exit_code == 1
    assert "the tenant is not known, and 1 pod needs it" in used.stderr
    plain = {**DEPLOYMENT, "spec": {"template": {"spec": TEMPLATE["spec"]}}}
    own = copy.deepcopy(ACCOUNT)
    own["metadata"]["annotations"][names.TENANT_ID] = TENANT
    for documents in ((plain,), (own, DEPLOYMENT)):
        unused = ran(*documents, arguments=("--strict",), tenant="")
        assert (unused.exit_code, unused.stderr) == (0, "")


def test_limits() -> None:
    """A LimitRange among the manifests that refuses the proxy is warned of with the annotation that helps."""
    pod = {"kind": "Pod", **copy.deepcopy(TEMPLATE)}
    pod["metadata"] |= {"name": "web", "annotations": {names.INJECT_PROXY: "true", names.PROXY_MODE: "environment"}}
    bounds = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "bounds"},
        "spec": {"limits": [{"type": "Container", "min": {"memory": "90Mi"}}]},
    }
    done = ran(ACCOUNT, bounds, pod, arguments=("--strict",))
    assert done.exit_code == 1
    assert "LimitRange bounds would refuse the pod: azwi-proxy: the memory request must be" in done.stderr
    pod["metadata"]["annotations"] |= {names.PROXY_MEMORY_REQUEST: "90Mi", names.PROXY_MEMORY_LIMIT: "90Mi"}
    assert ran(ACCOUNT, bounds, pod, arguments=("--strict",)).exit_code == 0


@pytest.mark.parametrize("columns", [40, 80])
def test_narrow_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a narrow terminal decisions are blocks, and long warnings are wrapped at words."""
    careless = copy.deepcopy(DEPLOYMENT)
    careless["metadata"] = {"name": "a-deployment-with-a-long-name", "namespace": "a-namespace-with-a-long-name"}
    careless["spec"]["template"]["metadata"]["annotations"] = {"azure.workload.identity/skip-container": "x"}
    account = copy.deepcopy(ACCOUNT)
    account["metadata"]["namespace"] = careless["metadata"]["namespace"]
    monkeypatch.setattr(terminal, "width", lambda _: columns)
    text = ran(account, careless, arguments=("--explain",)).stdout
    name = "a-namespace-with-a-long-name/a-deployment-with-a-long-name"
    assert " ".join(text.split()).startswith(f"WORKLOAD: Deployment {name} SERVICE ACCOUNT: app DECISION: mutate")
    assert max(len(line) for line in text.splitlines() if " " in line.strip()) <= columns


def test_several_on_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several decisions are blocks with a blank line between them, each with its warnings."""
    pods = [{**DEPLOYMENT, "metadata": {"name": name}} for name in ("web", "api")]
    monkeypatch.setattr(terminal, "width", lambda _: 40)
    text = ran(ACCOUNT, *pods, arguments=("--explain",)).stdout
    assert [block.partition("\n")[0] for block in text.split("\n\n")] == [
        "WORKLOAD: Deployment default/web",
        "WORKLOAD: Deployment default/api",
    ]


def test_explained_in_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal that wants colour the decision and the labels of warnings have one, and nothing else."""
    monkeypatch.setattr(terminal, "coloured", lambda _: True)
    careless = copy.deepcopy(DEPLOYMENT)
    careless["metadata"]["name"] = "mutate"
    careless["spec"]["template"]["metadata"]["annotations"] = {"azure.workload.identity/skip-container": "x"}
    text = yaml.safe_dump_all([ACCOUNT, careless])
    done = (
        CliRunner()
        .invoke(program, ["mutate", "-f", "-", "--explain", "--tenant-id", TENANT], input=text, color=True)
        .stdout
    )
    assert f"Deployment default/mutate   app               {click.style('mutate', fg='green', bold=True)}" in done
    assert click.style("warning:", fg="yellow", bold=True) in done
    assert done.count("\x1b[0m") == 2


ENDPOINT = (
    "--custom-token-endpoint-annotation-suffix=identity-binding",
    f"--custom-token-endpoint-audience={names.BINDING_AUDIENCE}",
)


def bound(monkeypatch: pytest.MonkeyPatch, annotations: dict[str, str], *flags: str) -> Result:
    """Explain the decision about a Deployment whose pods have annotations, where there is a token proxy."""
    monkeypatch.setenv(names.ENV_TOKEN_PROXY, "https://binding.test")
    template = {**TEMPLATE, "metadata": {**TEMPLATE["metadata"], "annotations": annotations}}
    deployment = {**DEPLOYMENT, "spec": {"template": template}}
    return ran(ACCOUNT, deployment, arguments=("--explain", *ENDPOINT, *flags))


def test_identity_binding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of pods with an identity binding the audiences, the token proxy and what uses it are shown, and of others not."""
    asks = {names.USE_BINDING: "true"}
    text = bound(monkeypatch, asks).stdout
    assert f"  binding: its token is for {names.BINDING_AUDIENCE}, at https://binding.test; an app must " in text
    assert "DefaultAzureCredential cannot use it" in text
    both = {**asks, names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE, names.INJECT_PROXY: "true"}
    [decision] = follows_schema("mutate-explain", bound(monkeypatch, both, "-o", "json").stdout)
    assert decision["binding"] == {
        "tokenProxy": "https://binding.test",
        "audience": names.BINDING_AUDIENCE,
        "secondAudience": names.DEFAULT_AUDIENCE,
        "usedBy": "proxy",
    }
    assert "binding:" not in bound(monkeypatch, {names.USE_BINDING: "false"}).stdout
    assert "binding:" not in bound(monkeypatch, {}).stdout
