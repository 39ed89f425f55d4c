"""Copies the files of Debian packages, and of their dependencies, into the root of the image.

    python3 image_root.py ROOT PACKAGE...

Runs during the image build, with the image's Python and only its standard library. It leaves out what only installers
need (dpkg, debconf, shells, Perl). Vulnerability scanners read the entries in /var/lib/dpkg/status.d.
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

# Dependencies that are needed only during installation.
INSTALLERS: Final = frozenset({"awk", "debconf", "debconf-2.0", "dpkg", "install-info", "openssl"})
# Documentation except licences, files for desktops, iconv's tables (Python has its own), Python's tests, its GUI and
# packagers' tools.
UNUSED: Final = re.compile(
    r"/usr/share/(?:bug|doc|info|lintian|locale|man)/(?!.*/copyright$)"
    r"|/usr/share/(?:applications|binfmts|ca-certificates|doc-base|pixmaps)/|/usr/share/zoneinfo/localtime$|/usr/lib/(?:binfmt\.d|valgrind|[^/]+/gconv)/"
    r"|/usr/share/python3/|/usr/bin/(?:pdb|py3|pydoc|pygettext)|/usr/lib/python3[^/]*/(?:idlelib|lib2to3|test|tkinter|turtledemo)/"
)
# Created during installation, so that no package lists them.
CREATED: Final = (
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
    """Return the output of dpkg-query."""
    return subprocess.run(["/usr/bin/dpkg-query", *arguments], check=True, capture_output=True, text=True).stdout  # noqa: S603  the image's own dpkg


def installed() -> tuple[dict[str, set[str]], dict[str, str]]:
    """Return the dependencies of every installed package, and the provider of every virtual package."""
    depends: dict[str, set[str]] = {}
    providers: dict[str, str] = {}
    for line in query("--show", "--showformat=${Package}\t${Pre-Depends}, ${Depends}\t${Provides}\n").splitlines():
        package, needed, provided = line.split("\t")
        depends[package] = set(re.findall(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)", needed))
        for name in re.findall(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]*)", provided):
            providers.setdefault(name, package)
    return depends, providers


def closure(wanted: Iterable[str], depends: dict[str, set[str]], providers: dict[str, str]) -> list[str]:
    """Return the packages and all their dependencies; of alternatives, the installed ones."""
    found: set[str] = set()
    remaining = list(wanted)
    while remaining:
        package = remaining.pop()
        package = package if package in depends else providers.get(package, "")
        if package and package not in found | INSTALLERS:
            found.add(package)
            remaining += depends[package] - INSTALLERS
    return sorted(found)


def can_run(path: Path) -> bool:
    """Return whether the image can run a file; it cannot run scripts of interpreters that it does not have."""
    if not path.is_file() or not os.access(path, os.X_OK):
        return True
    with path.open("rb") as file:
        first = file.readline(64)
    return not first.startswith(b"#!") or b"python" in first


def paths(packages: list[str]) -> Iterator[Path]:
    """Yield every file and link of the packages and of their installation, with directories resolved."""
    listed = [Path(line) for line in query("--listfiles", *packages).splitlines() if line.startswith("/")]
    created = [path for pattern in CREATED for path in Path("/").glob(pattern.removeprefix("/"))]
    for path in {path.parent.resolve() / path.name for path in [*listed, *created]}:
        is_file = path.is_symlink() or path.is_file()
        if is_file and not UNUSED.match(str(path)) and can_run(path):
            yield path


def collect(root: Path, packages: list[str]) -> None:
    """Copy the files; write every package's entry for scanners, the accounts and /tmp."""
    for path in sorted(paths(packages)):
        target = root / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        # Certificate authorities that an administrator added are below /usr/local, which belongs to no package.
        is_authority = path.match("/etc/ssl/certs/*.pem")
        shutil.copy2(path, target, follow_symlinks=is_authority)
    for link in (path for path in Path("/").iterdir() if path.is_symlink()):  # /lib, /bin and so on
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
    """Create the root directory and fill it."""
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
