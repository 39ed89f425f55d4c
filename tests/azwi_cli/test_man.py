"""Man pages, made from the commands."""

import shutil
import subprocess

import pytest

from azwi_cli.main import COMMANDS
from scripts.write_man import pages


def test_every_command_has_a_page() -> None:
    """Each command and each of its own commands has a page with its flags."""
    found = pages()
    assert {f"azwi-{name}.1" for name in COMMANDS} <= found.keys()
    assert r"\-\-request\-timeout" in found["azwi-doctor.1"]
    assert "azwi-serviceaccount-create-phase-federated-identity.1" in found


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not on this machine")
def test_groff_reads_them() -> None:
    """Groff formats every page without a warning."""
    for name, text in pages().items():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), name
