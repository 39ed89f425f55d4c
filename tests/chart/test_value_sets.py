"""Each value set of charts/.../ci renders to objects that every supported Kubernetes takes."""

import json
import re
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Final

import kubernetes_validate.utils  # type: ignore[import-untyped]  # has annotations, but no py.typed
import pytest
import yaml

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from testbed.program import ROOT
from tests.chart.helm import CHART, VALUE_SETS, Helm

VERSIONS: Final = [f"1.{minor}" for minor in range(29, 38)]
# Definitions live elsewhere; tests/chart/test_monitoring.py and test_certificates.py look at these.
CUSTOM: Final = {"cert-manager.io/v1", "monitoring.coreos.com/v1"}


def test_enough() -> None:
    """There are more than 25 value sets."""
    assert len(VALUE_SETS) > 25


@pytest.fixture(scope="module")
def _schemas_once() -> Iterator[None]:
    """Read each schema once: kubernetes-validate reads its largest file anew for every object."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kubernetes_validate.utils, "schema_contents", cache(kubernetes_validate.utils.schema_contents))
        yield


@pytest.mark.usefixtures("_schemas_once")
@pytest.mark.parametrize("version", VERSIONS)
def test_strictly_valid(value_sets: dict[str, list[JsonObject]], version: str) -> None:
    """Kubernetes of this version knows every field of every object, whatever the values."""
    distinct = {json.dumps(manifest): manifest for each in value_sets.values() for manifest in each}
    builtin = [manifest for manifest in distinct.values() if manifest["apiVersion"] not in CUSTOM]
    assert len(builtin) > 100
    for manifest in builtin:
        kubernetes_validate.utils.validate(manifest, version, strict=True)
    with pytest.raises(kubernetes_validate.utils.ValidationError):
        kubernetes_validate.utils.validate({**builtin[0], "unheardOf": 1}, version, strict=True)


def test_no_definitions_needed(value_sets: dict[str, list[JsonObject]]) -> None:
    """Nothing but built-in kinds is rendered, unless a value asks for cert-manager or the Prometheus operator."""
    for name, manifests in value_sets.items():
        asked = any(word in name for word in ("cert-manager", "monitor", "upstream"))
        custom = {manifest["apiVersion"] for manifest in manifests} & CUSTOM
        assert bool(custom) is asked, name


def test_names_are_unique(value_sets: dict[str, list[JsonObject]]) -> None:
    """No release renders two objects of one kind and name."""
    for name, manifests in value_sets.items():
        keys = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in manifests]
        assert len(keys) == len(set(keys)), name


def test_objects_are_labelled(value_sets: dict[str, list[JsonObject]]) -> None:
    """Every object of the chart carries the labels that Kubernetes recommends and the release's name."""
    for name, manifests in value_sets.items():
        for manifest in manifests:
            if name.startswith("30-") and manifest["metadata"]["name"] in {"extra", "azwi-text"}:
                continue
            labels = manifest["metadata"]["labels"]
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["app.kubernetes.io/instance"] == "azwi"
            assert labels["app.kubernetes.io/version"]


def test_lint(helm: Helm) -> None:
    """`helm lint --strict` finds nothing, with any value set."""
    with ThreadPoolExecutor(2) as pool:
        for printed in pool.map(lambda path: helm.run("lint", "--strict", str(CHART), f"--values={path}"), VALUE_SETS):
            assert "0 chart(s) failed" in printed
            assert "WARNING" not in printed


def test_versions_agree() -> None:
    """The chart has the program's version, and supports Kubernetes from where the tests begin."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__
    assert chart["kubeVersion"] == f">={VERSIONS[0]}.0-0"


def test_scanner_is_quiet_for_a_reason() -> None:
    """Behind every check that `make scan` skips stands why."""
    skipped = (ROOT / ".ci" / "checkov.yaml").read_text().partition("skip-check:\n")[2].splitlines()
    assert len(skipped) > 5
    assert not [line for line in skipped if not re.fullmatch(r"- CKV2?_K8S_\d+ +# .{20,}", line)]


def test_package(helm: Helm, tmp_path: Path) -> None:
    """The package has what an installation needs and explains it, and no value sets for tests."""
    helm.run("package", str(CHART), f"--destination={tmp_path}")
    with tarfile.open(tmp_path / f"workload-identity-webhook-{__version__}.tgz") as package:
        names = {name.partition("/")[2] for name in package.getnames()}
    assert {"values.schema.json", "README.md", "files/dashboard.json", "templates/NOTES.txt"} <= names
    assert not [name for name in names if name.startswith("ci/")]
