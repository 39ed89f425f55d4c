"""The files of a release, made by make, signed, verified by the page's commands, and installed from an OCI registry."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pytest
import yaml

from azure_workload_identity import __version__
from scripts.release import provenance
from scripts.release.build import Options, Release
from testbed.cluster.control_plane import Cluster, ControlPlane
from testbed.cluster.server import TENANT_ID
from testbed.program import ROOT
from tests.support.registry import needed, oci_registry

REGISTRY: Final = "registry.example.com/identity"
CHART: Final = f"workload-identity-webhook-{__version__}.tgz"
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})
HOMEPAGE: Final = "https://git.example.com/azure-workload-identity"


@pytest.fixture(scope="module")
def folder(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a release without the image."""
    output = tmp_path_factory.mktemp("release")
    flags = f"--no-image --output {output} --registry {REGISTRY}"
    command = ("make", "--silent", "release", f"VERSION={__version__}", f"RELEASE={flags}")
    run(*command, folder=ROOT, environment={"KUBEBUILDER_ASSETS": str(control_plane.programs.helm.parent)})
    return output


def run(*command: str, folder: Path, status: int = 0, environment: Mapping[str, str] = NOTHING) -> str:
    """Run a command in a folder; what it printed."""
    variables = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def commands(page: str, heading: str) -> list[str]:
    """Return the lines of the first block of commands below a heading of the manual."""
    section = (ROOT / "docs" / page).read_text().split(f"\n## {heading}\n")[1]
    return section.split("```\n")[1].replace("0.1.0", __version__).splitlines()


@pytest.fixture
def helm_for_builds(control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a build in this process find helm where make does."""
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(control_plane.programs.helm.parent))


@pytest.mark.usefixtures("helm_for_builds")
def test_second_build(folder: Path, tmp_path: Path) -> None:
    """A second build of the commit makes the same bytes."""
    options = Options(
        version=__version__,
        homepage=HOMEPAGE,
        downloads=f"{HOMEPAGE}/releases/download/v{__version__}",
        registry=REGISTRY,
        builder="",
        image=False,
    )
    again = Release.of_commit(options, ROOT, tmp_path, tmp_path / "again")
    again.distributions()
    again.chart()
    again.documents()
    again.policies()
    again.plugin()
    files = sorted(again.output.iterdir())
    assert len(files) == 9
    assert [file.read_bytes() for file in files] == [(folder / file.name).read_bytes() for file in files]


def test_provenance(folder: Path) -> None:
    """The statement is about the files of the release: every file but itself and the checksums."""
    (file,) = folder.glob("*.intoto.json")
    subjects = {it["name"]: it["digest"]["sha256"] for it in json.loads(file.read_text())["subject"]}
    others = [path for path in folder.iterdir() if path.name not in {file.name, "SHA256SUMS"}]
    assert subjects == {path.name: provenance.sha256(path) for path in others}


def test_commit(folder: Path) -> None:
    """The wheel has the commit that the provenance names."""
    statement = json.loads(next(folder.glob("*.intoto.json")).read_text())
    source = statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        module = wheel.read("azure_workload_identity/version.py").decode()
    assert f'COMMIT: Final = "{source["digest"]["gitCommit"]}"\n' in module


def test_links(folder: Path) -> None:
    """The changes and the chart's README have no link that needs a checkout."""
    with tarfile.open(folder / CHART) as chart:
        readme = chart.extractfile("workload-identity-webhook/README.md")
        assert readme is not None
        texts = [readme.read().decode(), (folder / "CHANGES.md").read_text()]
    for text in texts:
        targets = re.findall(r"\]\(([^)]+)\)", text)
        assert len(targets) > 5
        assert not [target for target in targets if not target.startswith(("https://", "#"))]


def test_policies(folder: Path, control_plane: ControlPlane) -> None:
    """The API server accepts the policies once the tenant is filled in; they inject the released image as proxy."""
    text = (folder / f"azwi-{__version__}-policies.yaml").read_text()
    assert f'"image":"{REGISTRY}/azwi:{__version__}"' in text
    filled = text.replace("${AZURE_TENANT_ID}", TENANT_ID)
    assert filled != text
    applied = control_plane.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=filled)
    assert applied.returncode == 0, applied.stderr


def test_plugin_names_its_archive(folder: Path) -> None:
    """The plugin manifest has the address and the digest of the archive that lies beside it."""
    (platform, *_) = yaml.safe_load((folder / "azwi.yaml").read_text())["spec"]["platforms"]
    archive = folder / platform["uri"].rpartition("/")[2]
    assert platform["uri"].startswith(f"{HOMEPAGE}/releases/download/v{__version__}/")
    assert platform["sha256"] == provenance.sha256(archive)


def test_signature(folder: Path, tmp_path: Path) -> None:
    """The manual's commands sign a release and verify it; a changed file or list of checksums is found."""
    needed("minisign", "minisign")
    signed = tmp_path / "release"
    shutil.copytree(folder, signed)
    for line in commands("develop/release.md", "Sign it"):
        run("sh", "-c", line, folder=signed)
    verify = commands("install/verify.md", "Files")
    assert len(verify) == 2
    for line in verify:
        run("sh", "-c", line, folder=signed)

    with (signed / CHART).open("ab") as chart:
        chart.write(b"\0")
    run("sh", "-c", verify[0], folder=signed)
    assert f"{CHART}: FAILED" in run("sh", "-c", verify[1], folder=signed, status=1)
    (signed / "SHA256SUMS").write_text(provenance.checksums([signed / CHART]))
    assert "Signature verification failed" in run("sh", "-c", verify[0], folder=signed, status=1)


def test_chart_from_a_registry(folder: Path, control_plane: ControlPlane, tmp_path: Path) -> None:
    """Helm pushes the chart to a registry and installs it from there, with the image's registry as released."""
    namespace = control_plane.create_namespace()
    with oci_registry(tmp_path) as address:
        pushed = helm(control_plane, "push", str(folder / CHART), f"oci://{address}/charts", "--plain-http")
        digest = re.search(r"Digest: (sha256:[0-9a-f]{64})", pushed)
        assert digest is not None
        installed = helm(
            control_plane,
            *("install", "azwi", f"oci://{address}/charts/workload-identity-webhook", "--plain-http"),
            *("--version", __version__, f"--namespace={namespace}", f"--set=azureTenantID={TENANT_ID}"),
        )
        assert digest[1] in installed
    try:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments/azwi-workload-identity-webhook"
        (container,) = control_plane.request("GET", path)["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{REGISTRY}/azwi:{__version__}"
    finally:
        helm(control_plane, "uninstall", "azwi", f"--namespace={namespace}")


def helm(cluster: Cluster, *arguments: str) -> str:
    """Run helm as the administrator of the cluster; what it printed."""
    home = {"HOME": str(cluster.directory), "KUBECONFIG": str(cluster.kubeconfig)}
    return run(str(cluster.programs.helm), *arguments, folder=cluster.directory, environment=home)


def test_refused_version(tmp_path: Path) -> None:
    """A version that the commit is not of ends the command with the files to change, and makes nothing."""
    command = (sys.executable, "-m", "scripts.release", "99.0.0", "--output", str(tmp_path / "release"))
    assert "this commit is not version 99.0.0" in run(*command, folder=ROOT, status=1)
    assert not (tmp_path / "release").exists()
