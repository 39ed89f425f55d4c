"""The page that a stranger follows."""

import re

from azure_workload_identity import __version__
from testbed.program import ROOT
from tests.first_use.manual import REGISTRY, steps


def test_steps() -> None:
    """Every heading with commands is a step, in the order of the page, for the registry of the node."""
    found = steps()
    assert [*found] == [
        "Check the files",
        "Install azwi",
        "Push the image",
        "Install the webhook",
        "Run the first pod",
        "Look for problems",
    ]
    assert REGISTRY in found["Push the image"]
    assert REGISTRY in found["Install the webhook"]


def test_files_of_a_release() -> None:
    """The commands name only files that a release has."""
    made = (ROOT / "docs" / "develop" / "release.md").read_text()
    commands = "\n".join(steps().values()).replace(__version__, "0.1.0")
    files = re.findall(r"[\w.-]+\.(?:whl|tgz|tar)\b", commands)
    assert len(files) == 3
    assert all(f"`{file}`" in made for file in files)
