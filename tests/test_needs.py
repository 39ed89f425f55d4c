"""What `make e2e` says before it starts."""

import subprocess
import sys
from pathlib import Path

from testbed.program import ROOT


def test_missing_things_are_named(tmp_path: Path) -> None:
    """Where programs are missing each is named with the command that brings it, and the exit status is 1."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.needs"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "KUBEBUILDER_ASSETS": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert f"kubelet, kube-proxy, pause, kubectl, helm in {tmp_path}: make node-tools\n" in done.stderr
    assert "e2e: no containerd on PATH: apt-get install --no-install-recommends containerd\n" in done.stderr
    assert "buildah" in done.stderr
    assert all(line.startswith("e2e: ") for line in done.stderr.splitlines())
