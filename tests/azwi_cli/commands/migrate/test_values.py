"""`azwi migrate values`."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from azure_workload_identity.types import JsonObject
from azwi_cli.commands.migrate.conversion import convert
from azwi_cli.main import program
from tests.chart.helm import CHART, RELEASE, TENANT_ID, Helm, objects, only

TENANT = {"azureTenantID": TENANT_ID}
# v1.6.0's own defaults, in which every value has its place.
DEFAULTS: JsonObject = yaml.safe_load((CHART / "ci" / "03-v1.6.0-values.yaml").read_text())
DEFAULTS.pop("upstreamNames", None)
IMAGE = "mcr.microsoft.com/oss/v2/azure/workload-identity/webhook"
ENDPOINT = {"annotationSuffix": "bindings", "audience": "api://x", "azureKubernetesTokenProxy": "https://proxy.test"}
LEFT_OUT: list[tuple[dict[str, Any], list[str]]] = [
    ({"image": {"repository": IMAGE, "release": "v1.6.0"}}, ["image.repository", "image.release"]),
    ({"resources": {"limits": {"cpu": "100m", "memory": "30Mi"}, "requests": {"memory": "20Mi"}}}, ["resources"]),
    ({"service": {"type": "ClusterIP", "port": 8443, "targetPort": 9000}}, ["service.port", "service.targetPort"]),
    ({"podDisruptionBudget": {"minAvailable": 1}, "replicaCount": 1}, ["podDisruptionBudget.minAvailable"]),
    ({"podDisruptionBudget": {"minAvailable": "100%"}}, ["podDisruptionBudget.minAvailable"]),
    ({"podDisruptionBudget": {"maxUnavailable": 0}}, ["podDisruptionBudget.maxUnavailable"]),
    ({"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}, ["podDisruptionBudget.minAvailable"]),
    ({"revisionHistoryLimit": 0}, ["revisionHistoryLimit"]),
    ({"customTokenEndpoint": {"annotationSuffix": "bindings"}}, ["customTokenEndpoint"]),
    ({"extraEnv": [{"name": "AZURE_TENANT_ID"}, {"name": "A", "value": "y"}]}, ["extraEnv AZURE_TENANT_ID"]),
    ({"logLevel": "5"}, ["logLevel"]),
    ({"azureEnvironment": "AzureMoonCloud"}, ["azureEnvironment"]),
    ({"fullnameOverride": "wi", "global": {"imageRegistry": "x"}}, ["fullnameOverride", "global"]),
    ({"extraVolumes": [{"name": "cert", "emptyDir": {}}]}, ["extraVolumes cert"]),
    ({"extraVolumeMounts": [{"name": "x", "mountPath": "/certs"}]}, ["extraVolumeMounts /certs"]),
    ({"webhookReplicas": 3, "image": {"tag": "x"}}, ["webhookReplicas", "image.tag"]),
]  # fmt: skip


@pytest.fixture(scope="module")
def helm() -> Helm:
    """Find helm, or skip."""
    try:
        return Helm.find()
    except FileNotFoundError as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize(
    ("values", "expected"), LEFT_OUT, ids=lambda item: " ".join(item) if isinstance(item, list) else ""
)
def test_left_out(helm: Helm, values: dict[str, Any], expected: list[str]) -> None:
    """A value that has no meaning here, or that the chart refuses, is named, and the chart takes the others."""
    ours, left_out = convert({**TENANT, **json.loads(json.dumps(values))})
    assert [path for path, _ in left_out] == expected
    assert all(reason for _, reason in left_out)
    assert helm.template(values=ours)


@pytest.mark.parametrize("values", [DEFAULTS, {**TENANT, "customTokenEndpoint": ENDPOINT, "podLabels": {"team": "a"}}])
def test_the_others_stay(helm: Helm, values: JsonObject) -> None:
    """What both charts understand alike stays as it is."""
    ours, left_out = convert(json.loads(json.dumps(values)))
    assert (ours, left_out) == (values, [])
    assert helm.template(values=ours)


def test_name_of_the_selector(helm: Helm) -> None:
    """v1.6.0's nameOverride is in its Deployment's selector, which cannot change, so it is taken along."""
    ours, left_out = convert({**TENANT, "nameOverride": "wi", "azureEnvironment": "AZUREUSGOVERNMENT"}, in_place=True)
    assert left_out == []
    assert ours == {**TENANT, "nameOverride": "wi", "azureEnvironment": "AzureUSGovernment", "upstreamNames": True}
    deployment = only(objects(helm.template(values=ours)), "Deployment")
    labels = {"app": "wi", "azure-workload-identity.io/system": "true", "chart": "wi", "release": RELEASE}
    assert deployment["spec"]["selector"]["matchLabels"] == labels


def test_command(tmp_path: Path) -> None:
    """The values go to stdout as YAML, and what is left out to stderr."""
    file = tmp_path / "theirs.yaml"
    file.write_text(f"USER-SUPPLIED VALUES:\nazureTenantID: {TENANT_ID}\nimage:\n  release: v1.6.0\nreplicaCount: 3\n")
    done = CliRunner().invoke(program, ["migrate", "values", "--in-place", str(file)])
    assert done.exit_code == 0
    assert yaml.safe_load(done.stdout) == {**TENANT, "replicaCount": 3, "upstreamNames": True}
    assert done.stderr == "azwi: warning: image.release is left out: it is a version of the original\n"


@pytest.mark.parametrize("text", ["", "null\n"])
def test_nothing_set(text: str) -> None:
    """A release without values of its own has none here, from stdin as well."""
    done = CliRunner().invoke(program, ["migrate", "values"], input=text)
    assert (done.exit_code, yaml.safe_load(done.stdout)) == (0, {})


@pytest.mark.parametrize("text", ["a: 1\n---\nb: 2\n", "- a\n", "3\n", "? [a]\n: 2\n", "a: [", "\xff"])
def test_not_values(text: str) -> None:
    """Something else than the output of helm is refused."""
    done = CliRunner().invoke(program, ["migrate", "values"], input=text)
    assert (done.exit_code, "give the output of helm get values -o yaml" in done.stderr) == (1, True)


def test_no_file() -> None:
    """A file that cannot be read is named."""
    done = CliRunner().invoke(program, ["migrate", "values", "/nowhere"])
    assert (done.exit_code, "/nowhere cannot be read" in done.stderr) == (1, True)
