"""Each values file of charts/.../ci renders to objects that every supported Kubernetes version accepts."""

import base64
import json
import re
import tarfile
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import kubernetes_validate.utils  # type: ignore[import-untyped]  # has annotations, but no py.typed
import pytest
import yaml

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from testbed.program import ROOT
from tests.chart.helm import CHART, VALUE_SETS, Helm

VERSIONS: Final = [f"1.{minor}" for minor in range(29, 38)]
# kubernetes-validate has no schemas for these; tests/chart/test_monitoring.py and test_certificates.py check them.
CUSTOM: Final = {"cert-manager.io/v1", "monitoring.coreos.com/v1"}

pytestmark = pytest.mark.renders


def test_enough() -> None:
    """There are more than 25 values files."""
    assert len(VALUE_SETS) > 25


@pytest.fixture(scope="module")
def _schemas_once() -> Iterator[None]:
    """Cache the schemas: kubernetes-validate reads its largest file again for every object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


@pytest.mark.usefixtures("_schemas_once")
@pytest.mark.parametrize("version", VERSIONS)
def test_strictly_valid(value_sets: dict[str, list[JsonObject]], version: str) -> None:
    """This Kubernetes version knows every field of every rendered object."""
    distinct = {json.dumps(manifest): manifest for manifests in value_sets.values() for manifest in manifests}
    builtin = [manifest for manifest in distinct.values() if manifest["apiVersion"] not in CUSTOM]
    assert len(builtin) > 100
    if version == "1.29":  # its ValidatingAdmissionPolicy is a beta, and the chart leaves it out there
        builtin = [manifest for manifest in builtin if not manifest["kind"].startswith("ValidatingAdmissionPolicy")]
    if version in VERSIONS[: VERSIONS.index("1.36")]:  # before, the chart refuses the engines that need it
        builtin = [manifest for manifest in builtin if not manifest["kind"].startswith("MutatingAdmissionPolicy")]
    for manifest in builtin:
        kubernetes_validate.utils.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes_validate.utils.ValidationError):
        kubernetes_validate.utils.validate({**builtin[0], "unheardOf": 1}, version, strict=True)


def test_no_definitions_needed(value_sets: dict[str, list[JsonObject]]) -> None:
    """Only built-in kinds are rendered, unless a value enables cert-manager or the Prometheus operator."""
    for name, manifests in value_sets.items():
        expected = any(word in name for word in ("cert-manager", "monitor", "upstream"))
        custom = {manifest["apiVersion"] for manifest in manifests} & CUSTOM
        assert bool(custom) is expected, name


def test_names_are_unique(value_sets: dict[str, list[JsonObject]]) -> None:
    """No release renders two objects of one kind and name."""
    for name, manifests in value_sets.items():
        keys = [(it["kind"], it["metadata"].get("namespace"), it["metadata"]["name"]) for it in manifests]
        assert len(keys) == len(set(keys)), name


def test_objects_are_labelled(value_sets: dict[str, list[JsonObject]]) -> None:
    """Every object of the chart has the recommended labels, and the release's name among them."""
    for name, manifests in value_sets.items():
        for manifest in manifests:
            if name.startswith("30-") and manifest["metadata"]["name"] in {"extra", "azwi-text"}:
                continue
            labels = manifest["metadata"]["labels"]
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["app.kubernetes.io/instance"] == "azwi"
            assert labels["app.kubernetes.io/version"]


def test_lint(helm: Helm) -> None:
    """`helm lint --strict` reports nothing for any values file."""
    with ThreadPoolExecutor(2) as pool:
        for printed in pool.map(lambda path: helm.run("lint", "--strict", str(CHART), f"--values={path}"), VALUE_SETS):
            assert "0 chart(s) failed" in printed
            assert "WARNING" not in printed


def test_versions_agree() -> None:
    """The chart has the program's version, and its oldest Kubernetes version is the oldest one tested."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"


def test_addresses() -> None:
    """The chart names the project's address, and carries its icon so that no network is needed to show it."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert [chart["home"], chart["sources"]] == [project["urls"]["Homepage"], [project["urls"]["Source"]]]
    kind, _, data = chart["icon"].partition(";base64,")
    assert kind == "data:image/svg+xml"
    assert ET.fromstring(base64.b64decode(data)).tag == "{http://www.w3.org/2000/svg}svg"  # noqa: S314  ours


def test_scanner_is_quiet_for_a_reason() -> None:
    """Every check that `make scan` skips has a reason."""
    skipped = (ROOT / ".ci" / "checkov.yaml").read_text().partition("skip-check:\n")[2].splitlines()
    assert len(skipped) > 5
    assert not [line for line in skipped if not re.fullmatch(r"- CKV2?_K8S_\d+ +# .{20,}", line)]


def test_package(helm: Helm, tmp_path: Path) -> None:
    """The package contains what an installation needs, and no files for tests or generators."""
    helm.run("package", str(CHART), f"--destination={tmp_path}")
    with tarfile.open(tmp_path / f"workload-identity-webhook-{__version__}.tgz") as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    assert {"values.schema.json", "README.md", "files/dashboard.json", "templates/NOTES.txt"} <= names
    assert not [name for name in names if name.startswith(("ci/", "values.rules"))]
