"""Makes the files of a release from the commit that is checked out: `make release VERSION=0.1.0`."""

import argparse
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from scripts.release.build import Options, Release, ReleaseError

ROOT: Final = Path(__file__).resolve().parents[2]


def main() -> None:
    """Parse the arguments, build, and list what was made."""
    homepage = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
    parser = argparse.ArgumentParser(prog="make release", description=__doc__)
    parser.add_argument("version")
    parser.add_argument("--output", type=Path, help="an empty folder (dist/release-VERSION)")
    parser.add_argument("--homepage", default=homepage, help="public address of the repository")
    parser.add_argument("--downloads", help="address of the folder from which the files will be downloaded")
    parser.add_argument("--registry", default="", help="registry of the image, the packaged chart's default")
    parser.add_argument("--builder", help="URI of whoever runs this build, for the provenance")
    parser.add_argument("--no-image", action="store_true", help="leave out the image and its bill of materials")
    given = parser.parse_args()
    version = given.version
    options = Options(
        version=version,
        homepage=given.homepage,
        downloads=given.downloads or f"{given.homepage}/releases/download/v{version}",
        registry=given.registry,
        builder=given.builder or f"{given.homepage}/blob/v{version}/docs/develop/release.md#built-by-hand",
        image=not given.no_image,
    )
    output = (given.output or ROOT / "dist" / f"release-{version}").resolve()
    if output.exists() and any(output.iterdir()):
        sys.exit(f"{output} is not empty: remove it, or name another folder with --output")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            release = Release.of_commit(options, ROOT, Path(scratch), output)
            release.build()
        except (ReleaseError, ValueError) as error:
            sys.exit(f"make release: {error}")
    sys.stdout.write(
        f"{(output / 'SHA256SUMS').read_text()}{output} has version {version} of commit {release.commit}\n"
    )


if __name__ == "__main__":
    main()
