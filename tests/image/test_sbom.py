"""The bill of materials and the table of sizes, both read from the image."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from scripts import image_report
from scripts.image_archive import Image
from testbed.program import ROOT
from tests.image.test_dockerfile import locked

pytestmark = pytest.mark.image

OUTPUT: Final = ROOT / "dist" / "azwi.cdx.json"
# Fails when the document does not satisfy the schema of the version that it names.
VALIDATE: Final = """
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
sys.exit(str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read()) or "") or 0)
"""


@pytest.fixture(scope="module")
def bill(archive: Path) -> Iterator[JsonObject]:
    """Have make write the document."""
    subprocess.run(["make", "sbom", f"ARCHIVE={archive}"], cwd=ROOT, check=True, capture_output=True)
    yield json.loads(OUTPUT.read_text())
    OUTPUT.unlink()


def test_schema(bill: JsonObject) -> None:
    """The document is CycloneDX 1.6 by the schema's own check."""
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    python = ROOT / "build" / "sbom" / "bin" / "python"
    done = subprocess.run([python, "-c", VALIDATE, OUTPUT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_subject(bill: JsonObject, image: Image) -> None:
    """Its subject is this version, its time the image's."""
    subject = bill["metadata"]["component"]
    assert (subject["name"], subject["version"]) == ("azure-workload-identity", __version__)
    created = image.config["Labels"]["org.opencontainers.image.created"].removesuffix("Z")
    assert bill["metadata"]["timestamp"].startswith(created)


def test_python_packages(bill: JsonObject) -> None:
    """Every package of the image's lock is in it, in the locked version, and no other."""
    purls = {component["purl"] for component in bill["components"] if component["purl"].startswith("pkg:pypi/")}
    packages = {re.sub(r"\s.*", "", package).replace("==", "@") for package in locked("image")}
    assert purls == {f"pkg:pypi/{package}" for package in packages}


def test_debian_packages(bill: JsonObject, image: Image) -> None:
    """Every Debian package that the image declares to scanners is listed, with its version."""
    purls = [component["purl"] for component in bill["components"] if component["purl"].startswith("pkg:deb/debian/")]
    entries = [name for name in image.files if name.startswith("var/lib/dpkg/status.d/")]
    assert len(purls) == len(entries) > 30
    assert any(re.match(r"pkg:deb/debian/iptables@[\d.-]+\?arch=\w+&distro=debian-\d+$", purl) for purl in purls)


def test_table_of_sizes(image: Image) -> None:
    """The manual's table is of an image like this one."""
    total = re.compile(r"\| all \| [\d,]+ \| ([\d.]+) \| ([\d.]+) \|")
    measured, written = total.search(image_report.report(image)), total.search(image_report.PAGE.read_text())
    assert measured is not None
    assert written is not None
    for now, then in zip(measured.groups(), written.groups(), strict=True):
        assert float(then) == pytest.approx(float(now), rel=0.1)
