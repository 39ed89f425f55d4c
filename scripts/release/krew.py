"""The manifest and the archive of the kubectl plugin for krew, kubectl's plugin manager.

azwi is a Python program with compiled dependencies, so the archive has the wheel, its lock and a launcher instead of a
binary. The launcher creates a virtual environment beside itself on the first run.
"""

from pathlib import Path
from typing import Final

import yaml

PLATFORMS: Final = (("linux", "amd64"), ("linux", "arm64"), ("darwin", "amd64"), ("darwin", "arm64"))
PROGRAM: Final = "kubectl-azwi"
LAUNCHER: Final = Path(__file__).with_name("kubectl-azwi.sh")
DESCRIPTION: Final = """\
Finds out why pods get no Microsoft Entra token and prints the command that fixes it;
creates the identity of a ServiceAccount in Azure and the trust between them;
shows what the Azure Workload Identity webhook would do to a manifest.
"""
CAVEATS: Final = """\
Needs Python 3.11 or newer with its venv module. The first run installs the locked
packages, checked by hash, from the index that pip is configured with.
"""


def files(wheel: Path, lock: Path, licence: Path) -> dict[str, bytes]:
    """Return what the archive contains: path to content."""
    return {
        PROGRAM: LAUNCHER.read_bytes(),
        wheel.name: wheel.read_bytes(),
        "requirements.txt": lock.read_bytes(),
        "LICENSE": licence.read_bytes(),
    }


def manifest(version: str, homepage: str, uri: str, digest: str) -> str:
    """Return the plugin manifest of krew's v1alpha2.

    Args:
        version: Of the release, without a leading v.
        homepage: Public address of the project.
        uri: Where the archive can be downloaded.
        digest: The archive's SHA-256, in hex.
    """
    platforms = [
        {"selector": {"matchLabels": {"os": system, "arch": machine}}, "uri": uri, "sha256": digest, "bin": PROGRAM}
        for system, machine in PLATFORMS
    ]
    plugin = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "azwi"},
        "spec": {
            "version": f"v{version}",
            "homepage": homepage,
            "shortDescription": "Find and fix Azure Workload Identity problems",
            "description": DESCRIPTION,
            "caveats": CAVEATS,
            "platforms": platforms,
        },
    }
    return str(yaml.safe_dump(plugin, sort_keys=False, width=120))
