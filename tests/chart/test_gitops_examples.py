"""The examples for Argo CD, Flux, kustomize and Terraform, rendered."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from testbed import tools
from testbed.program import ROOT
from tests.azwi_cli.test_main import azwi
from tests.chart.helm import CHART, NAMESPACE, RELEASE, Helm, objects, of_kind, pod_spec

FOLDER: Final = ROOT / "examples" / "gitops"
IMAGE: Final = f"registry.example.com/identity/azwi:{__version__}"
ADDRESS: Final = f"registry.example.com/identity/charts/{CHART.name}"


def example(name: str, kind: str) -> JsonObject:
    """Return the spec of the object of a kind in an example."""
    (found,) = [it for it in yaml.safe_load_all((FOLDER / name).read_text()) if it["kind"] == kind]
    return dict(found["spec"])


def image(manifests: list[JsonObject]) -> str:
    """Return the image of the rendered Deployment."""
    return str(pod_spec(manifests)["containers"][0]["image"])


def test_argo_cd(helm: Helm) -> None:
    """The Application names the chart of this version, and the chart accepts its values."""
    source = example("argo-cd.yaml", "Application")["source"]
    assert f"{source['repoURL']}/{source['chart']}" == ADDRESS
    assert str(source["targetRevision"]) == __version__
    assert image(objects(helm.template(values=source["helm"]["valuesObject"]))) == IMAGE


def test_flux(helm: Helm) -> None:
    """The OCIRepository names the chart of this version, and the chart accepts the HelmRelease's values."""
    repository, release = example("flux.yaml", "OCIRepository"), example("flux.yaml", "HelmRelease")
    assert repository["url"] == f"oci://{ADDRESS}"
    assert str(repository["ref"]["tag"]) == __version__
    manifests = objects(helm.template(values=release["values"]))
    assert image(manifests) == IMAGE
    ignored = {it["target"]["kind"] for it in release["driftDetection"]["ignore"]}
    assert all(of_kind(manifests, kind) for kind in ignored)


def test_kustomize(helm: Helm, tmp_path: Path) -> None:
    """The rendered chart can be moved to another namespace and labelled."""
    directory = tmp_path / "kustomize"
    shutil.copytree(FOLDER / "kustomize", directory)
    values = f"--values={directory / 'values.yaml'}"
    rendered = helm.run("template", RELEASE, str(CHART), f"--namespace={NAMESPACE}", values, "--no-hooks")
    (directory / "rendered.yaml").write_text(rendered)
    kubectl = shutil.which("kubectl", path=os.pathsep.join((str(tools.folder()), os.environ["PATH"])))
    if kubectl is None:
        pytest.skip("no kubectl: run make cluster-tools")
    done = subprocess.run([kubectl, "kustomize", str(directory)], capture_output=True, text=True, check=True)
    manifests = objects(done.stdout)
    assert image(manifests) == IMAGE
    assert {it["metadata"]["labels"]["team"] for it in manifests} == {"platform"}
    assert {it["metadata"]["namespace"] for it in of_kind(manifests, "Deployment")} == {"platform-identity"}


def test_terraform(helm: Helm) -> None:
    """The release names the chart of this version, the chart accepts its values, and azwi prints the identity."""
    directory = FOLDER / "terraform"
    text = (directory / "main.tf").read_text()
    settings = dict(re.findall(r'^  (\w+) += "(.*)"$', text.partition("helm_release")[2], re.MULTILINE))
    assert f"{settings['repository']}/{settings['chart']}" == f"oci://{ADDRESS}"
    assert settings["version"] == __version__
    assert image(objects(helm.template(values=yaml.safe_load((directory / "values.yaml").read_text())))) == IMAGE
    (command,) = re.findall(r"^#   (azwi (?:.*\\\n)*.*)$", text, re.MULTILINE)
    printed = azwi(*shlex.split(command.replace("\\\n#", ""))[1:])
    assert (directory / "shop-web.tf").read_text() == printed.stdout
