"""The image in a registry."""

import subprocess
from pathlib import Path

import pytest

from azure_workload_identity import __version__
from tests.image import build
from tests.support.registry import oci_registry

pytestmark = pytest.mark.image


def test_push_and_pull(archive: Path, tmp_path: Path) -> None:
    """The archive can be pushed to a registry, and what is pulled from there by digest is the same image."""
    storage = ["--root", str(tmp_path / "root"), "--runroot", str(tmp_path / "run"), "--storage-driver", "vfs"]

    def buildah(*arguments: str) -> str:
        command = ["buildah", *storage, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    loaded = buildah("pull", "--quiet", f"docker-archive:{archive}")
    digest = tmp_path / "digest"
    with oci_registry(tmp_path) as address:
        pushed = f"docker://{address}/identity/azwi"
        to_registry = (build.NAME, f"{pushed}:{__version__}")
        buildah("push", "--quiet", "--tls-verify=false", f"--digestfile={digest}", *to_registry)
        buildah("rmi", "--all", "--force")
        pulled = buildah("pull", "--quiet", "--tls-verify=false", f"{pushed}@{digest.read_text()}")
    assert pulled == loaded
