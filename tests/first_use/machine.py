"""A fresh container with what a stranger has: Python, pipx, skopeo, kubectl and Helm."""

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from testbed import tools
from tests.image import build

PACKAGES: Final = ("ca-certificates", "pipx", "skopeo")
TOOLS: Final = ("kubectl", "helm")
FOLDER: Final = "/release"
MAX_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class Machine:
    """A running container, in which commands are run one after the other."""

    directory: Path
    name: str
    release: Path

    def run(self, commands: str) -> "subprocess.CompletedProcess[str]":
        """Run lines of shell in the folder of the release; the output has that of stderr in its place."""
        mounts = {
            str(self.release): f"{FOLDER}:ro",
            **{str(tools.folder() / it): f"/usr/local/bin/{it}:ro" for it in TOOLS},
        }
        volumes = [f"--volume={outside}:{inside}" for outside, inside in mounts.items()]
        script = f"export HOME=/root PATH=$PATH:/root/.local/bin\nset -e\n{commands}"
        command = [*build.storage(self.directory), "run", "--isolation=chroot", f"--workingdir={FOLDER}", *volumes]
        return subprocess.run(
            [*command, self.name, "--", "sh", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            timeout=MAX_SECONDS,
        )


@contextmanager
def machine(release: Path, files: Mapping[str, Path], hosts: Mapping[str, str]) -> Iterator[Machine]:
    """Start a container with the files of a release, others by their paths inside, and hosts by their addresses."""
    directory = build.CACHE
    added = [f"--add-host={name}:{address}" for name, address in hosts.items()]
    with build.alone():
        name = build.buildah(directory, "from", "--isolation=chroot", *added, _image(directory))
    try:
        for inside, outside in files.items():
            build.buildah(directory, "copy", "--quiet", name, str(outside), inside)
        yield Machine(directory, name, release)
    finally:
        build.buildah(directory, "rm", name)


def _image(directory: Path) -> str:
    """Make the container's image once, from the base that the tests of the image use; its name."""
    name = f"localhost/azwi-first-use:{build.suite()}"
    if build.buildah(directory, "images", "--quiet", "--filter", f"reference={name}"):
        return name
    base = build.base_images(directory)
    container = build.buildah(directory, "from", base)
    try:
        install = f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(PACKAGES)}"
        build.buildah(directory, "run", "--isolation=chroot", container, "--", "sh", "-c", install)
        build.buildah(directory, "commit", "--quiet", container, name)
    finally:
        build.buildah(directory, "rm", container)
    return name
