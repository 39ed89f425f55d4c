"""The identity mapping, as `azwi mutate` takes it."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from azure_workload_identity.types import JsonObject
from tests.azwi_cli.commands.test_mutate import CLIENT_ID, DEPLOYMENT, ran, variables

PLAIN: JsonObject = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "app"}}
ENTRY = {"namespace": "default", "serviceAccount": "app", "clientId": CLIENT_ID}
NAMED = ("--identity-mapping-configmap", "azwi-mapping")


def config_map(*entries: object, namespace: str = "azwi-system") -> JsonObject:
    """Write the ConfigMap of a mapping."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "azwi-mapping", "namespace": namespace},
        "data": {"mapping.yaml": yaml.safe_dump({"mappings": list(entries)})},
    }


def client_id(*documents: JsonObject, arguments: Sequence[str]) -> str | None:
    """Return the client id that the last of the documents is given."""
    done = ran(*documents, arguments=(*arguments, "-o", "yaml"))
    assert (done.exit_code, done.stderr) == (0, ""), done.output
    return variables(list(yaml.safe_load_all(done.stdout))[-1]["spec"]["template"]).get("AZURE_CLIENT_ID")


@pytest.mark.parametrize("content", [{"mappings": [ENTRY]}, config_map(ENTRY)], ids=["file", "manifest"])
def test_file(tmp_path: Path, content: JsonObject) -> None:
    """The server's file gives identities, and so does the manifest of a ConfigMap with one."""
    (tmp_path / "mapping.yaml").write_text(yaml.safe_dump(content))
    arguments = ("--identity-mapping", str(tmp_path / "mapping.yaml"))
    assert client_id(PLAIN, DEPLOYMENT, arguments=arguments) == CLIENT_ID


@pytest.mark.parametrize("named", ["azwi-mapping", "azwi-system/azwi-mapping"])
def test_among_manifests(named: str) -> None:
    """A ConfigMap among the manifests counts when it is named, and not by itself."""
    listed = {"apiVersion": "v1", "kind": "List", "items": [config_map(ENTRY)]}
    arguments = ("--identity-mapping-configmap", named, "--opt-in=service-account")
    assert client_id(PLAIN, listed, DEPLOYMENT, arguments=arguments) == CLIENT_ID
    done = ran(PLAIN, listed, DEPLOYMENT)
    assert "(no-client-id)" in done.stderr


def test_bad_entry() -> None:
    """An invalid entry of a ConfigMap is reported in the server's words, the others count, and --strict fails on it."""
    documents = (PLAIN, config_map({"namespace": "x", "clientId": "secret"}, ENTRY), DEPLOYMENT)
    done = ran(*documents, arguments=(*NAMED, "--explain", "-o", "json"))
    assert done.exit_code == 0
    assert "warning: identity mapping in ConfigMap azwi-mapping: mappings.0.clientId: " in done.stderr
    assert "must be a UUID" in done.stderr
    assert json.loads(done.stdout)[0]["warnings"] == []
    strict = ran(*documents, arguments=(*NAMED, "--strict"))
    assert strict.exit_code == 1
    assert "1 warning, and --strict was given" in strict.stderr


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([], "there is no ConfigMap azwi-mapping in the manifests"),
        ([{**config_map(), "data": {}}], "ConfigMap azwi-mapping: it has no key mapping.yaml"),
        ([{**config_map(), "data": {"mapping.yaml": {"mappings": []}}}], "it has no key mapping.yaml"),
        ([{**config_map(), "data": {"mapping.yaml": "["}}], "it is not YAML"),
        ([config_map(), config_map(namespace="other")], "the manifests have 2 ConfigMaps azwi-mapping"),
    ],
)
def test_refused(documents: list[JsonObject], said: str) -> None:
    """A ConfigMap that is not there, is meant twice, or holds no mapping ends the command."""
    done = ran(PLAIN, DEPLOYMENT, *documents, arguments=NAMED)
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


def test_missing_file(tmp_path: Path) -> None:
    """A file that cannot be read is named, without a traceback."""
    done = ran(DEPLOYMENT, arguments=("--identity-mapping", str(tmp_path / "none.yaml")))
    assert done.exit_code == 1
    assert "none.yaml: No such file" in done.stderr


def test_two_places() -> None:
    """One mapping, from one place, as with the server."""
    done = ran(DEPLOYMENT, arguments=("--identity-mapping", "x", *NAMED))
    assert done.exit_code == 2
    assert "two places for one thing" in done.stderr
