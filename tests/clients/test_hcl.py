"""What `azwi serviceaccount create -o terraform` prints, read by HashiCorp's parser."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from azwi_cli.commands.serviceaccount.templates import terraform
from testbed.program import ROOT
from tests.azwi_cli.commands.serviceaccount.templates.test_write import HOSTILE, TERRAFORM
from tests.clients.programs import CACHE

pytestmark = pytest.mark.clients
PROGRAM: Final = CACHE / "hcl" / "hcl"


def literals(text: str) -> list[str]:
    """Return the texts in a file that is formatted as `terraform fmt` does."""
    if not PROGRAM.exists() and os.environ.get("REQUIRE_CLIENTS") != "1":
        pytest.skip(f"no {PROGRAM}: make client-tools, which says why it left it out")
    done = subprocess.run([PROGRAM], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [str(literal) for literal in json.loads(done.stdout)]


def test_file() -> None:
    """A whole file is valid and formatted."""
    assert "system:serviceaccount:shop:web" in literals(TERRAFORM)


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.tf")), ids=lambda file: str(file.name))
def test_examples(file: Path) -> None:
    """The example is valid and formatted."""
    assert literals(file.read_text())


@pytest.mark.parametrize("value", [HOSTILE, "${", "$${", "$$${x}", "%{", "%%{if}", '"', "\\", "\\${", "\x00\x7f"])
def test_hostile_text(value: str) -> None:
    """Every text is read back as it was."""
    assert literals(f"a = {terraform.quoted(value)}\n") == [value]
