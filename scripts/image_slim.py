"""Removes from an environment what this project's programs do not use, then compiles the rest.

    python3 image_slim.py /opt/azwi

Runs during the image build, with only the standard library; needs strip (binutils).
"""

import compileall
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

# Other programs; tests; sources and interfaces of extension modules. The generated classes of the Kubernetes client are
# twice 35 MB: this project makes raw calls only, and a test enforces that.
UNUSED: Final = (
    "bin/[!ap]*",
    "bin/[Aa]ctivate*",
    "bin/pygmentize",
    "include",
    "lib/*/site-packages/**/tests",
    "lib/*/site-packages/**/*_test.py",
    "lib/*/site-packages/**/*.py[xi]",
    "lib/*/site-packages/**/*.pxd",
    "lib/*/site-packages/kubernetes/**/client/api/*_api.py",
    "lib/*/site-packages/kubernetes/**/client/models/[!_]*.py",
)


def unused(environment: Path) -> Iterator[Path]:
    """Yield the files and directories to remove."""
    for pattern in UNUSED:
        yield from environment.glob(pattern)


def slim(environment: Path) -> None:
    """Remove what is unused, and the debug symbols of extension modules."""
    for path in list(unused(environment)):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    modules = sorted(environment.rglob("*.so"))
    if modules:
        subprocess.run(["/usr/bin/strip", "--strip-unneeded", "--preserve-dates", *modules], check=True)  # noqa: S603  installed in the build stage


def compile_all(environment: Path) -> None:
    """Compile for /opt/azwi, without a check of file times, which not every registry and builder preserves.

    Raises:
        SystemExit: when a file does not compile.
    """
    unchecked = PycInvalidationMode.UNCHECKED_HASH
    before = str(environment).removesuffix("/opt/azwi")
    if not compileall.compile_dir(
        environment / "lib", maxlevels=20, quiet=1, stripdir=before, prependdir="/", invalidation_mode=unchecked
    ):
        sys.exit(f"not every file of {environment} could be compiled")


if __name__ == "__main__":
    slim(Path(sys.argv[1]))
    compile_all(Path(sys.argv[1]))
