"""Each output for machines has a published schema."""

import json
from collections.abc import Iterator

import click
import pytest
import yaml
from click.testing import CliRunner

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.main import program
from testbed.program import ROOT, TENANT
from tests.support.schemas import DIRECTORY, follows_schema


def outputs(command: click.Command = program, *path: str) -> Iterator[tuple[str, ...]]:
    """Return the commands with --output json, as their words."""
    formats = [parameter.type for parameter in command.params if "--output" in parameter.opts]
    if any(isinstance(format_, click.Choice) and "json" in map(str, format_.choices) for format_ in formats):
        yield path
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from outputs(inner, *path, name)


@pytest.mark.parametrize("words", [*outputs()], ids=" ".join)
def test_every_output_has_one(words: tuple[str, ...]) -> None:
    """Every command with --output json has a schema with its name, or one for all of its group."""
    possible = ["-".join(words[:length]) for length in range(len(words), 0, -1)]
    assert any((DIRECTORY / f"{name}.json").exists() for name in possible), (
        f"azwi {' '.join(words)} --output json has no schema: write docs/reference/schemas/{possible[0]}.json, "
        f'and in a test of the command follows_schema("{possible[0]}", stdout)'
    )


def test_titles() -> None:
    """Each schema says whose it is, some test holds an output to it, and the manual names it."""
    tests = "\n".join(file.read_text() for file in (ROOT / "tests").rglob("*.py"))
    page = (ROOT / "docs" / "reference" / "azwi.md").read_text()
    for file in DIRECTORY.glob("*.json"):
        assert json.loads(file.read_text())["title"].startswith("azwi ")
        assert f'follows_schema("{file.stem}"' in tests, file.stem
        assert f"schemas/{file.name}" in page, file.stem


ACCOUNT = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "app", "annotations": {names.CLIENT_ID: "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"}},
}
ASKS = {names.INJECT_PROXY: "true", names.PROXY_MODE: "environment", "azure.workload.identity/skip-container": "x"}
POD: JsonObject = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "labels": {names.USE_LABEL: "true"}, "annotations": ASKS},
    "spec": {"serviceAccountName": "app", "containers": [{"name": "app", "image": "registry.test/app:1"}]},
}
LOST = {**POD, "metadata": {**POD["metadata"], "name": "lost", "namespace": "other"}}
BOUNDS = {
    "apiVersion": "v1",
    "kind": "LimitRange",
    "metadata": {"name": "bounds"},
    "spec": {"limits": [{"type": "Container", "min": {"memory": "90Mi"}}]},
}


def mutated(*documents: object, flags: tuple[str, ...]) -> str:
    """Return what azwi mutate prints of documents."""
    text = yaml.safe_dump_all(documents)
    done = CliRunner().invoke(program, ["mutate", "-f", "-", "--tenant-id", TENANT, *flags], input=text)
    return done.stdout


def test_mutate_explain() -> None:
    """Decisions with warnings, limits and refusals follow the schema."""
    text = mutated(ACCOUNT, BOUNDS, POD, LOST, flags=("--explain", "-o", "json"))
    web, lost = follows_schema("mutate-explain", text)
    assert (web["decision"], lost["decision"], bool(web["limits"]), bool(web["warnings"])) == (
        "mutate",
        "refuse",
        True,
        True,
    )


def test_mutate() -> None:
    """Manifests follow the schema, one and several."""
    one = mutated({"apiVersion": "v1", "kind": "List", "items": [ACCOUNT, POD]}, flags=("-o", "json"))
    assert len(follows_schema("mutate", one)["items"]) == 2
    assert follows_schema("mutate", mutated(ACCOUNT, POD, flags=("-o", "json")))["kind"] == "List"


def test_mutate_patch() -> None:
    """Patches follow the schema, of one document and of several."""
    one = mutated({"apiVersion": "v1", "kind": "List", "items": [ACCOUNT, POD]}, flags=("-o", "patch"))
    assert follows_schema("mutate-patch", one)[0]["op"] == "add"
    assert follows_schema("mutate-patch", mutated(ACCOUNT, POD, flags=("-o", "patch")))[0]["kind"] == "Pod"
