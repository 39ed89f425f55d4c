"""Which engine decides about a pod, and what differs from the webhook."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.offline.engines import LARGE
from tests.azwi_cli.commands.test_mutate import ACCOUNT, TEMPLATE, ran
from tests.support.schemas import follows_schema

POD: JsonObject = {"apiVersion": "v1", "kind": "Pod", **TEMPLATE, "metadata": {"name": "web", **TEMPLATE["metadata"]}}


def pod(annotations: dict[str, str] | None = None, **container: object) -> JsonObject:
    """Return a pod that takes part."""
    changed = copy.deepcopy(POD)
    changed["metadata"]["annotations"] = annotations or {}
    changed["spec"]["containers"][0] |= container
    return changed


def engine_of(*documents: object, engine: str = "policy", flags: tuple[str, ...] = ()) -> tuple[str, list[str]]:
    """Return who decides about the last document's pod, and the codes of the differences."""
    done = ran(*documents, arguments=("--engine", engine, "-o", "json", *flags))
    found: Any = follows_schema("mutate-explain", done.stdout)[-1]["engine"]
    assert found["name"] == engine
    return found["decidedBy"], [difference["code"] for difference in found["differences"]]


@pytest.fixture
def account(tmp_path: Path) -> tuple[str, ...]:
    """Write the ServiceAccount to a file of its own: it is not created with the pod."""
    (tmp_path / "account.yaml").write_text(yaml.safe_dump(ACCOUNT))
    return ("--service-account", str(tmp_path / "account.yaml"))


def test_webhook() -> None:
    """With the default engine the output does not mention engines, and manifests are printed."""
    plain, named = ran(ACCOUNT, POD), ran(ACCOUNT, POD, arguments=("--engine", "webhook"))
    assert plain.stdout == named.stdout
    assert "engine" not in ran(ACCOUNT, POD, arguments=("--explain", "-o", "json")).stdout


def test_same(account: tuple[str, ...]) -> None:
    """A plain pod is the policies', and nothing differs; one that does not take part is nobody's."""
    for engine in ("policy", "both"):
        assert engine_of(POD, engine=engine, flags=account) == ("policy", [])
    assert engine_of({**POD, "metadata": {"name": "web"}}, flags=account) == ("none", [])


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        (pod(volumeMounts=[{"name": "own", "mountPath": "/var/run/x/../secrets"}]), "unresolved-path"),
        (pod(env=[{"name": f"V{number}", "value": ""} for number in range(LARGE)]), "evaluation-time"),
        (pod({names.PREFIX + "unknown": ""}), "warning-prefix"),
        (pod({names.TOKEN_EXPIRATION: "1"}), "http-status"),
        (pod({names.TOKEN_EXPIRATION: "eins\u00e4"}), "not-ascii"),
    ],
)
def test_differences(account: tuple[str, ...], changed: JsonObject, code: str) -> None:
    """What differs from the webhook is found in the pod and in its decision."""
    decider, codes = engine_of(changed, flags=account)
    assert decider == "policy"
    assert code in codes


def test_new_account() -> None:
    """A ServiceAccount that is created with its pod is not looked up by policies."""
    assert engine_of(ACCOUNT, POD) == ("policy", ["no-live-read"])


def test_of_api_server() -> None:
    """A pod without its ServiceAccount, or one that is malformed, is refused by the API server itself."""
    assert engine_of(POD) == ("api-server", ["refused-by-api-server"])
    assert engine_of(ACCOUNT, {**POD, "spec": {**POD["spec"], "volumes": 1}})[0] == "api-server"


def test_mapping_in_configmap(account: tuple[str, ...]) -> None:
    """A mapping in a ConfigMap leaves pods to the webhook, and is refused where there is none."""
    mapping = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "mapping"},
        "data": {names.MAPPING_KEY: "mappings: []\n"},
    }
    flags = (*account, "--identity-mapping-configmap", "mapping")
    assert engine_of(mapping, POD, engine="both", flags=flags) == ("webhook", [])
    refused = ran(mapping, POD, arguments=("--engine", "policy", *flags))
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "--engine both" in refused.stderr


def test_table(account: tuple[str, ...]) -> None:
    """People see who decides, and each difference with its code."""
    done = ran(pod({names.TOKEN_EXPIRATION: "1"}), arguments=("--engine", "policy", *account))
    assert "\n  engine: policy\n  differs: policies refuse with HTTP 422" in done.stdout
    assert done.exit_code == 1


def test_manifests() -> None:
    """The manifests of an engine are the webhook's, so only decisions are printed."""
    assert ran(ACCOUNT, POD, arguments=("--engine", "policy", "-o", "diff")).exit_code == 2
