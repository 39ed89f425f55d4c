"""Writes the image's bill of materials, a CycloneDX 1.6 document: its Python distributions and its Debian packages.

    build/sbom/bin/python -m scripts.write_sbom ARCHIVE OUTPUT

Needs the packages of requirements/sbom.txt, which `make sbom` installs. All data comes from the image itself.
"""

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import uuid
import venv
from datetime import datetime
from email.parser import Parser
from pathlib import Path
from typing import Final

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from scripts.image_archive import Image

ROOT: Final = Path(__file__).resolve().parents[1]
PYPROJECT: Final = ROOT / "pyproject.toml"
# Metadata files of the distributions, without the project's own, which is the document's subject and not a component.
METADATA: Final = re.compile(
    r"opt/azwi/lib/python[^/]+/site-packages/((?!azure_workload_identity-)[^/]+\.dist-info/.+)"
)
STATUS: Final = re.compile(r"var/lib/dpkg/status\.d/[^/]+")


def python_bill(image: Image, directory: Path) -> Bom:
    """Return the image's Python distributions: cyclonedx-py reads an environment that holds only their metadata."""
    environment, written = directory / "environment", directory / "python.json"
    venv.create(environment)
    (site,) = environment.glob("lib/python*/site-packages")
    for name, content in image.contents(METADATA).items():
        file = site / METADATA.fullmatch(name)[1]  # type: ignore[index]  # contents() returns only matching names
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    command = [
        sys.executable,
        "-m",
        "cyclonedx_py",
        "environment",
        "--pyproject",
        str(PYPROJECT),
        "--output-reproducible",
    ]
    command += ["--spec-version", "1.6", "--output-file", str(written), str(environment)]
    subprocess.run(command, check=True)  # noqa: S603  this interpreter
    return Bom.from_json(json.loads(written.read_text()))


def debian_packages(image: Image) -> list[Component]:
    """Return the image's Debian packages as dpkg's status files list them."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', image.text("usr/lib/os-release"), re.MULTILINE))
    found = []
    for content in image.contents(STATUS).values():
        entry = Parser().parsestr(content.decode())
        name, version = entry["Package"], entry["Version"]
        qualifiers = {"arch": entry["Architecture"], "distro": f"{release['ID']}-{release['VERSION_ID']}"}
        purl = PackageURL("deb", release["ID"], name, version, qualifiers)
        found.append(Component(name=name, version=version, purl=purl, bom_ref=str(purl), type=ComponentType.LIBRARY))
    return found


def bill(image: Image) -> str:
    """Return the document.

    Raises:
        SystemExit: The document does not satisfy the schema.
    """
    with tempfile.TemporaryDirectory() as directory:
        bom = python_bill(image, Path(directory))
    # Serial number and time derive from the image, so that the document is reproducible.
    bom.serial_number = uuid.UUID(bytes=hashlib.sha256(image.archive.read_bytes()).digest()[:16])
    bom.metadata.timestamp = datetime.fromisoformat(image.config["Labels"]["org.opencontainers.image.created"])
    packages = debian_packages(image)
    bom.components.update(packages)
    bom.register_dependency(bom.metadata.component, packages)
    text: str = JsonV1Dot6(bom).output_as_string(indent=2)
    if errors := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"the document does not satisfy CycloneDX 1.6: {errors}")
    return text


if __name__ == "__main__":
    archive, output = map(Path, sys.argv[1:])
    output.parent.mkdir(exist_ok=True)
    output.write_text(bill(Image.read(archive)))
