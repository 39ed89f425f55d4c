"""Values that are null or missing: keys without a value, and `helm upgrade --reuse-values` from an older chart."""

import shutil
import subprocess
from itertools import accumulate
from pathlib import Path
from typing import Final

import pytest
import yaml

from scripts.chart_values import documented_values
from testbed.program import ROOT
from tests.chart.helm import BASE, CHART, Helm, HelmError, objects, pod_spec, rendered

GIT: Final = ("git", "-C", str(ROOT))
VALUES: Final = CHART / "values.yaml"
NAMES: Final = [value.name for value in documented_values(VALUES.read_text())]
# Every documented value and every map that holds some.
KEYS: Final = sorted({".".join(path) for name in NAMES for path in accumulate([[key] for key in name.split(".")])})

pytestmark = pytest.mark.renders


@pytest.fixture(scope="module")
def without_a_value(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Render the chart with each key set to null, and with nothing set as the last one."""
    values = [{key: None} for key in KEYS if key not in BASE]
    texts = helm.variants([*values, {}], tmp_path_factory.mktemp("nulls"))
    return dict(zip([*(key for key in KEYS if key not in BASE), ""], texts, strict=True))


def test_key_without_a_value(without_a_value: dict[str, str]) -> None:
    """A key whose value is null renders as if it were left out, whichever key it is."""
    assert len(without_a_value) > 160
    assert [key for key, text in without_a_value.items() if text != without_a_value[""]] == []


def test_file_of_keys_without_values(helm: Helm, tmp_path: Path) -> None:
    """A values file whose keys have no values renders as if it had only those that have one."""
    file = tmp_path / "values.yaml"
    keys = {key.partition(".")[0] for key in NAMES} - BASE.keys()
    file.write_text(f"azureTenantID: {BASE['azureTenantID']}\n" + "".join(f"{key}:\n" for key in sorted(keys)))
    assert helm.template(f"--values={file}") == helm.template(values=BASE)


def test_tenant_without_a_value(helm: Helm) -> None:
    """The required value is missed by name, also where its key is there."""
    with pytest.raises(HelmError, match="azureTenantID is not set"):
        helm.template(values={"azureTenantID": None})


def test_null_below_a_value(helm: Helm) -> None:
    """Below a documented value null removes a default, as everywhere in Helm."""
    values = {"resources": {"limits": None}, "podSecurityContext": {"fsGroup": None}}
    spec = pod_spec(rendered(helm, values))
    assert spec["containers"][0]["resources"].keys() == {"requests"}
    assert "fsGroup" not in spec["securityContext"]
    assert "runAsUser" in spec["securityContext"]


def former_commits() -> list[str]:
    """Return the commits that changed values.yaml, the newest first.

    Skips the test in a shallow clone, which lacks them.
    """
    shallow = subprocess.run(
        [*GIT, "rev-parse", "--is-shallow-repository"], capture_output=True, text=True, check=False
    )
    if shallow.stdout.strip() != "false":
        pytest.skip("needs the history of values.yaml: clone the repository in full")
    command = [*GIT, "log", "--format=%H", "--", str(VALUES.relative_to(ROOT))]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def former_values(commit: str) -> str:
    """Return values.yaml as a commit left it."""
    command = [*GIT, "show", f"{commit}:{VALUES.relative_to(ROOT)}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_reused_values(helm: Helm, tmp_path: Path) -> None:
    """`--reuse-values` from the chart of any earlier commit: Helm then has that chart's defaults, and no newer ones."""
    commits = former_commits()
    assert len(commits) > 6
    for commit in commits:
        values = former_values(commit)
        chart = tmp_path / commit
        shutil.copytree(CHART, chart)
        (chart / "values.yaml").write_text(values)
        manifests = objects(helm.template(chart=chart, values=BASE))
        assert pod_spec(manifests)["containers"][0]["resources"] == yaml.safe_load(values)["resources"]
