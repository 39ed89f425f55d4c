"""The quick starts' flags of the API server are flags of the real one."""

import re

from azwi_cli.issuer import discovery
from testbed.cluster.control_plane import ControlPlane
from testbed.program import ROOT


def test_flags(control_plane: ControlPlane) -> None:
    """What the quick starts set is what this API server runs with, and its documents name that issuer."""
    pages = sorted((ROOT / "docs" / "install").glob("quickstart-*.md"))
    settings = re.compile(r"service-account-[a-z-]+")
    named = {flag for page in pages for flag in settings.findall(page.read_text())}
    command = control_plane.apiserver._command
    given = dict(word.removeprefix("--").split("=", 1) for word in command if word.startswith("--service-account-"))
    assert named == {"service-account-issuer"}
    assert named <= set(given)
    published = control_plane.request("GET", discovery.CONFIGURATION_PATH)
    assert published["issuer"] == given["service-account-issuer"]
    issuers = {
        value
        for page in pages
        for value in re.findall(r"service-account-issuer(?:: |=|\n\s+value: )(https:\S+)", page.read_text())
    }
    assert len(issuers) == 1
    assert next(iter(issuers)).endswith("/") == given["service-account-issuer"].endswith("/")
