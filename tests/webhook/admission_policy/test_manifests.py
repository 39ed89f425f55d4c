"""The policies as YAML. That they do what the webhook does is tested with a real API server: tests/cluster."""

import re
from pathlib import Path
from typing import Final

import pytest
import yaml

from azure_workload_identity.types import JsonObject
from scripts import write_policy
from testbed.pods import policy
from webhook.admission.policy import OptIn
from webhook.admission_policy.manifests import VARIABLES, Guard, Installation, documents

ALL: Final[list[JsonObject]] = list(yaml.safe_load_all(documents(policy(*OptIn), Installation())))
POLICIES: Final = [found for found in ALL if found["kind"].endswith("Policy")]


@pytest.mark.parametrize("file", write_policy.texts(), ids=lambda file: file.name)
def test_generated_files(file: Path) -> None:
    """The text of the policies in the chart is what the code generates."""
    assert file.read_text() == write_policy.texts()[file], "run make docs"


def test_objects() -> None:
    """There are four policies, and a binding for each way to opt in; the guard knows of labels only."""
    assert [(found["kind"], found["metadata"]["name"]) for found in ALL if found["kind"].endswith("Policy")] == [
        ("MutatingAdmissionPolicy", "azwi-inject"),
        ("ValidatingAdmissionPolicy", "azwi-refuse"),
        ("ValidatingAdmissionPolicy", "azwi-warn"),
        ("ValidatingAdmissionPolicy", "azwi-guard"),
    ]
    assert len([found for found in ALL if found["kind"].endswith("Binding")]) == 3 * 3 + 2


@pytest.mark.parametrize("found", POLICIES, ids=lambda found: found["metadata"]["name"])
def test_order(found: JsonObject) -> None:
    """A variable uses only those before it, as the API server compiles them in order."""
    known: set[str] = set()
    for variable in found["spec"]["variables"]:
        assert set(re.findall(r"\bvariables\.(\w+)", variable["expression"])) <= known, variable["name"]
        known.add(variable["name"])


def test_comments() -> None:
    """Every expression has a comment above it, and none stands for two."""
    for variable in VARIABLES:
        assert re.fullmatch(r"[A-Z].{5,110}\.", variable.comment), variable.name
    assert len({variable.name for variable in VARIABLES}) == len(VARIABLES)


@pytest.mark.parametrize(("guard", "actions"), [(Guard.DENY, ["Deny"]), (Guard.WARN, ["Warn"])])
def test_guard(guard: Guard, actions: list[str]) -> None:
    """The guard refuses or warns."""
    written = documents(policy(), Installation(guard=guard)).split("---\n")
    (binding,) = [text for text in written if "name: azwi-guard-pod-label" in text]
    assert yaml.safe_load(binding)["spec"]["validationActions"] == actions


def test_no_guard() -> None:
    """The guard can be left out."""
    assert "guard" not in documents(policy(), Installation(guard=Guard.OFF))
