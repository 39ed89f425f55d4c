"""`make first-use`: a stranger's way from the files of a release to the first pod with an identity, in minutes.

Makes the release unless RELEASE names its folder, starts a Kubernetes node and a registry, and runs every command of
the manual's page in a fresh container.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import trustme

from azure_workload_identity import __version__
from testbed import tools
from testbed.cluster.control_plane import issue
from tests.cluster.support.node import needs
from tests.cluster.support.node.configuration import MACHINE
from tests.cluster.support.node.node import NodeError, node
from tests.first_use.machine import Machine, machine
from tests.first_use.manual import REGISTRY, steps
from tests.image import build
from tests.support.registry import TLS, oci_registry

ROOT: Final = Path(__file__).resolve().parents[2]
MAX_WAIT_SECONDS: Final = 900.0
HOSTS_FILE: Final = """server = "https://{name}"
[host."https://{address}"]
  capabilities = ["pull", "resolve"]
  ca = "{ca}"
"""


def missing() -> list[str]:
    """The missing requirements, one line each."""
    registry = shutil.which("docker-registry")
    lacking = [] if registry else ["no docker-registry on PATH: apt-get install docker-registry"]
    return [*needs.missing(), *filter(None, [build.missing()]), *lacking]


def main() -> int:
    """Run it; the exit status is 1 when a command failed."""
    parser = argparse.ArgumentParser(prog="make first-use", description=__doc__)
    parser.add_argument("release", type=Path, nargs="?", help="the folder of a release with its image")
    given = parser.parse_args()
    if lacking := missing():
        return _fail("\n".join(lacking))
    with tempfile.TemporaryDirectory(prefix="azwi-first-use-") as scratch:
        directory = Path(scratch)
        try:
            release = given.release.resolve() if given.release else _make_release(directory / "release")
            with _surroundings(directory, release) as fresh:
                return _follow_the_manual(fresh)
        except (NodeError, RuntimeError) as error:
            return _fail(str(error))


def _make_release(output: Path) -> Path:
    _print(f"making release {__version__}")
    begun = time.monotonic()
    with build.alone():
        base = build.base_images(build.CACHE)
        with build.settings(build.CACHE, base) as variables:
            flags = f"RELEASE=--output {output} --registry {REGISTRY}/identity"
            command = ["make", "--silent", "release", f"VERSION={__version__}", flags]
            done = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
            )
    if done.returncode:
        raise RuntimeError(f"make release failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    _print(f"{time.monotonic() - begun:7.1f} s  the release, not a part of what follows")
    return output


@contextmanager
def _surroundings(directory: Path, release: Path) -> Iterator[Machine]:
    """Start the cluster, the registry that it pulls from, and the stranger's machine."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    issue(directory, "registry", authority.issue_cert(REGISTRY, MACHINE))
    pip = directory / "pip.conf"
    pip.write_text(build.pip_settings())
    _print("starting the node, the registry and the stranger's machine")
    with node(patience=MAX_WAIT_SECONDS) as running:
        tls = TLS(f"{MACHINE}:443", directory / "registry.crt", directory / "registry.key")
        with oci_registry(directory, tls):
            mirror = running.directory / "registries" / REGISTRY
            mirror.mkdir(parents=True)
            hosts = HOSTS_FILE.format(name=REGISTRY, address=MACHINE, ca=directory / "ca.crt")
            (mirror / "hosts.toml").write_text(hosts)
            files = {
                "/etc/pip.conf": pip,
                "/root/.kube/config": _kubeconfig(running.cluster.kubeconfig, directory),
                f"/etc/containers/certs.d/{REGISTRY}/ca.crt": directory / "ca.crt",
                **({"/run/secrets/ca": build.AUTHORITIES} if build.AUTHORITIES.exists() else {}),
            }
            with machine(release, files, {REGISTRY: MACHINE}) as fresh:
                yield fresh


def _kubeconfig(kubeconfig: Path, directory: Path) -> Path:
    """Write the administrator's kubeconfig with its files inside."""
    command = [str(tools.folder() / "kubectl"), f"--kubeconfig={kubeconfig}", "config", "view", "--flatten", "--raw"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    file = directory / "kubeconfig"
    file.write_text(done.stdout)
    return file


def _follow_the_manual(fresh: Machine) -> int:
    whole = time.monotonic()
    for heading, commands in steps().items():
        _print(
            "",
            f"## {heading}",
            "$ " + commands.rstrip().replace("\\\n", "\\\n> ").replace("\n", "\n$ ").replace("$ >", ">"),
        )
        begun = time.monotonic()
        done = fresh.run(commands)
        _print(done.stdout.rstrip(), f"{time.monotonic() - begun:7.1f} s  {heading}")
        if done.returncode:
            return _fail(f"{heading} ended with {done.returncode}")
    _print("", f"{time.monotonic() - whole:7.1f} s  from the files of a release to all of it")
    return 0


def _print(*lines: str) -> None:
    print("\n".join(lines), flush=True)  # noqa: T201  a program's output


def _fail(text: str) -> int:
    print("\n".join(f"make first-use: {line}" for line in text.splitlines()), file=sys.stderr)  # noqa: T201  as above
    return 1


if __name__ == "__main__":
    sys.exit(main())
