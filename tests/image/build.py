"""Builds the image as users do, by `make image`, without a registry.

Its base is made by debootstrap from the mirror of this machine's apt, its packages come from the index of this
machine's pip. The result is a docker-archive, kept in ~/.cache/azwi/image under a hash of all its inputs:

    python -m tests.image.build     # prints the path

For `ctr images import` and `buildah from docker-archive:PATH`; the image's name in it is NAME.
"""

import fcntl
import hashlib
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.image_report import PACKAGES

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = "localhost/azwi:test"
CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "azwi" / "image"
PROGRAMS: Final = {"buildah": "buildah", "debootstrap": "debootstrap", "runc": "runc", "make": "make"}
KEPT: Final = 4
AUTHORITIES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
PIP_OPTIONS: Final = {"index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "default-timeout"}
SOURCES: Final = ("Dockerfile", ".dockerignore", "LICENSE", "README.md", "pyproject.toml", "Makefile", "requirements")


log = logging.getLogger(__name__)


def missing() -> str:
    """Why this machine cannot build or run the image, as a sentence; empty if it can."""
    absent = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    if absent:
        return f"the image cannot be built and run without {' '.join(absent)}: apt-get install {' '.join(absent)}"
    return "" if os.geteuid() == 0 else "debootstrap and runc need root"


def suite() -> str:
    """The Debian suite that the Dockerfile names."""
    found = re.search(r"^ARG BASE=debian:(\w+)-slim$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found
    return found[1]


def base_images(directory: Path) -> str:
    """Make the base image from this machine's Debian mirror in the storage of a directory, once; its name."""
    name = f"localhost/azwi-base:{suite()}"
    if buildah(directory, "images", "--quiet", "--filter", f"reference={name}"):
        return name
    log.info("installing the base system (debootstrap)")
    mirrors = _mirrors()
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        root = Path(scratch) / "root"
        _run("debootstrap", "--variant=minbase", suite(), str(root), mirrors[""])
        (root / "etc/apt/sources.list").write_text(
            "".join(f"deb {mirror} {suite()}{pocket} main\n" for pocket, mirror in mirrors.items())
        )
        (root / "etc/apt/apt.conf.d/90machine").write_text(_apt_settings())
        container = buildah(directory, "from", "scratch")
        buildah(directory, "add", "--quiet", container, str(root), "/")
        buildah(directory, "commit", "--quiet", "--rm", container, name)
    return name


def build_image(directory: Path = CACHE) -> Path:
    """Build the image unless it was built from the same inputs before; the docker-archive.

    Raises:
        RuntimeError: with the build's log, when it fails.
    """
    archive = directory / f"azwi-{_key()}.tar"
    log.info("looking for an image of the same inputs, and waiting while another one is built")
    with alone(directory):
        if not archive.exists():
            base = base_images(directory)
            # The most recently used ones may belong to another checkout.
            for older in sorted(directory.glob("azwi-*.tar"), key=lambda path: path.stat().st_mtime)[: 1 - KEPT]:
                older.unlink()
            log.info("building the image: compiling its packages takes longest")
            _build(directory, base)
            log.info("writing the archive")
            new = archive.with_suffix(".new")
            new.unlink(missing_ok=True)
            buildah(directory, "push", "--quiet", NAME, f"docker-archive:{new}:{NAME}")
            new.rename(archive)
            buildah(directory, "rmi", NAME)
            buildah(directory, "rmi", "--prune", "--force")
        archive.touch()
    return archive


def _build(directory: Path, base: str) -> None:
    with settings(directory, base) as variables:
        _run("make", "--directory", str(ROOT), "image", f"FLAGS={variables.pop('FLAGS')}", IMAGE=NAME, **variables)


@contextmanager
def settings(directory: Path, base: str) -> Iterator[dict[str, str]]:
    """Give the variables by which `make image` and `make release` build here: from a base image, without a registry."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        pip = Path(scratch) / "pip.conf"
        pip.write_text(pip_settings())
        flags = ["--isolation=chroot", "--layers=false", f"--secret=id=pip,src={pip}"]
        flags += [f"--secret=id=ca,src={AUTHORITIES}"] if AUTHORITIES.exists() else []
        engine = " ".join(storage(directory))
        yield {"ENGINE": engine, "FLAGS": " ".join(flags), "BASE": base, "BUILD_BASE": base}


def _key() -> str:
    digest = hashlib.sha256()
    roots = [ROOT / name for name in (*PACKAGES, "scripts")]
    folders = [path for root in roots for path in root.rglob("*") if "__pycache__" not in path.parts]
    locks = (ROOT / "requirements").glob("*.txt")
    files = [*(ROOT / name for name in SOURCES), *locks, *folders, Path(__file__)]
    for file in sorted(path for path in files if path.is_file()):
        digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def alone(directory: Path = CACHE) -> Iterator[None]:
    """Wait for other builds in a directory, and keep them waiting."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def storage(directory: Path) -> list[str]:
    """Return the command that runs buildah on the storage of a directory."""
    images = directory / "storage"
    return ["buildah", "--root", f"{images}/root", "--runroot", f"{images}/run", "--storage-driver", "vfs"]


def buildah(directory: Path, *arguments: str) -> str:
    """Run buildah on the storage of a directory; what it printed.

    Raises:
        RuntimeError: with its output, when it fails.
    """
    return _run(*storage(directory), *arguments).strip()


def _run(*command: str, **variables: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    if done.returncode:
        raise RuntimeError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
        )
    return done.stdout


def _mirrors() -> dict[str, str]:
    """The mirrors of this machine's apt, by pocket: "", "-updates", "-security"."""
    own = _run("sh", "-c", '. /etc/os-release; printf %s "$VERSION_CODENAME"')
    listed = _run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages")
    found = {release: uri for uri, release, _ in (line.split() for line in listed.splitlines())}
    return {pocket: found[own + pocket] for pocket in ("", "-updates", "-security") if own + pocket in found}


def _apt_settings() -> str:
    lines = _run("apt-config", "dump").splitlines()
    return "".join(f"{line}\n" for line in lines if re.match(r"Acquire::(?:http|https|Check)", line))


def pip_settings() -> str:
    """This machine's pip settings for finding packages, with the path of its CAs inside the build."""
    listed = _run(sys.executable, "-m", "pip", "config", "list")
    found = dict(re.findall(r"^[^.]+\.\.?([a-z-]+)='(.*)'$", listed, re.MULTILINE))
    settings = {key: value for key, value in found.items() if key in PIP_OPTIONS}
    if AUTHORITIES.exists():
        settings["cert"] = "/run/secrets/ca"
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in settings.items())


if __name__ == "__main__":
    problem = missing()
    if problem:
        sys.exit(problem)
    print(build_image())  # noqa: T201  its purpose
