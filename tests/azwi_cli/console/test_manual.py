"""Where the manual is."""

import tomllib

from azwi_cli.console import manual
from testbed.program import ROOT


def test_address() -> None:
    """Links lead to the documentation of the project's metadata: a release that sets its address sets both."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert urls["Documentation"] == f"{manual.MANUAL}/README.md"
    assert manual.link("operate/doctor.md", "near-miss") == f"{manual.MANUAL}/operate/doctor.md#near-miss"
