"""Collects the files of Debian packages, and of what they depend on, into the root of the image.

    python3 image_root.py ROOT PACKAGE...

Runs while the image is built, by the Python of the image and its standard library alone. What installers need (dpkg,
debconf, shells, Perl) stays out. Each package's entry in /var/lib/dpkg/status.d tells scanners what is there.
"""

import compileall
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

# What packages depend on for the moment of their installation.
INSTALLERS: Final = frozenset({"awk", "debconf", "debconf-2.0", "dpkg", "install-info", "openssl"})
# Documentation but for licences, what desktops read, iconv's tables (Python has its own), Python's tests, windows and
# tools of packagers.
UNUSED: Final = re.compile(
    r"/usr/share/(?:bug|doc|info|lintian|locale|man)/(?!.*/copyright$)"
    r"|/usr/share/(?:applications|binfmts|ca-certificates|doc-base|pixmaps)/|/usr/share/zoneinfo/localtime$|/usr/lib/(?:binfmt\.d|valgrind|[^/]+/gconv)/"
    r"|/usr/share/python3/|/usr/bin/(?:pdb|py3|pydoc|pygettext)|/usr/lib/python3[^/]*/(?:idlelib|lib2to3|test|tkinter|turtledemo)/"
)
# Made at installation, so that no package lists them.
MADE: Final = (
    "/etc/alternatives/ip*tables*",
    "/etc/nsswitch.conf",
    "/etc/ssl/certs/*",
    "/usr/lib/ssl/cert*",
    "/usr/sbin/ip*tables*",
)
ACCOUNTS: Final = {
    "etc/passwd": "root:x:0:0::/:/sbin/nologin\n"
    "azwi-proxy:x:1501:1501::/:/sbin/nologin\n"
    "nonroot:x:65532:65532::/:/sbin/nologin\n",
    "etc/group": "root:x:0:\nazwi-proxy:x:1501:\nnonroot:x:65532:\n",
}


def query(*arguments: str) -> str:
    """What dpkg-query prints."""
    return subprocess.run(["/usr/bin/dpkg-query", *arguments], check=True, capture_output=True, text=True).stdout  # noqa: S603  the image's own dpkg


def installed() -> tuple[dict[str, set[str]], dict[str, str]]:
    """The installed packages with what each depends on, and who provides each name."""
    depends: dict[str, set[str]] = {}
    providers: dict[str, str] = {}
    for line in query("--show", "--showformat=${Package}\t${Pre-Depends}, ${Depends}\t${Provides}\n").splitlines():
        package, needed, provided = line.split("\t")
        depends[package] = set(re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)", needed))
        for name in re.findall(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]*)", provided):
            providers.setdefault(name, package)
    return depends, providers


def closure(wanted: Iterable[str], depends: dict[str, set[str]], providers: dict[str, str]) -> list[str]:
    """The wanted packages and all that they depend on; of alternatives, those that are installed."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        package = waiting.pop()
        package = package if package in depends else providers.get(package, "")
        if package and package not in found | INSTALLERS:
            found.add(package)
            waiting += depends[package] - INSTALLERS
    return sorted(found)


def runs(path: Path) -> bool:
    """Whether a file can be of use: scripts for interpreters that stay out cannot."""
    if not path.is_file() or not os.access(path, os.X_OK):
        return True
    with path.open("rb") as file:
        first = file.readline(64)
    return not first.startswith(b"#!") or b"python" in first


def paths(packages: list[str]) -> Iterator[Path]:
    """Every file and link of the packages, and those made at their installation, each by its real place."""
    listed = [Path(line) for line in query("--listfiles", *packages).splitlines() if line.startswith("/")]
    made = [path for pattern in MADE for path in Path("/").glob(pattern.removeprefix("/"))]
    for path in {each.parent.resolve() / each.name for each in [*listed, *made]}:
        is_file = path.is_symlink() or path.is_file()
        if is_file and not UNUSED.match(str(path)) and runs(path):
            yield path


def collect(root: Path, packages: list[str]) -> None:
    """Copy the files, write each package's entry for scanners, and what else a root needs."""
    for path in sorted(paths(packages)):
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Authorities of one's own lie below /usr/local, which belongs to no package.
        is_authority = path.match("/etc/ssl/certs/*.pem")
        shutil.copy2(path, target, follow_symlinks=is_authority)
    for link in (path for path in Path("/").iterdir() if path.is_symlink()):  # /lib and its like
        if not (root / link.name).is_symlink():
            (root / link.name).symlink_to(link.readlink())
    status = root / "var/lib/dpkg/status.d"
    status.mkdir(parents=True)
    for package in packages:
        (status / package).write_text(query("--status", package))
    for name, lines in ACCOUNTS.items():
        (root / name).write_text(lines)
    (root / "run/lock").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)


def main(target: str, *wanted: str) -> None:
    """Make the root in an empty directory."""
    root = Path(target)
    root.mkdir()
    packages = closure(wanted, *installed())
    collect(root, packages)
    subprocess.run(["/sbin/ldconfig", "-r", root], check=True)  # noqa: S603  the image's own ldconfig
    shutil.rmtree(root / "var/cache", ignore_errors=True)
    unchecked = PycInvalidationMode.UNCHECKED_HASH
    libraries = root / "usr/lib"
    for library in libraries.glob("python3*"):
        if not compileall.compile_dir(
            library, quiet=1, stripdir=str(root), prependdir="/", invalidation_mode=unchecked
        ):
            sys.exit(f"not every file of {library} could be compiled")
    print(len(packages), "packages:", *packages)  # noqa: T201  the build's log


if __name__ == "__main__":
    main(*sys.argv[1:])
