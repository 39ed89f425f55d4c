"""The audiences of tokens, on snapshots; with an API server in tests/cluster/doctor."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.findings import Code, Finding
from azwi_cli.commands.doctor.snapshot import Snapshot
from tests.azwi_cli.commands.doctor.snapshots import account, annotated, examine, snapshot

BINDING = {names.USE_BINDING: "true"}
BOTH = {**BINDING, names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE}
ACCOUNTS = {("shop", "app"): account()}


def projected(name: str, tokens: Mapping[str, str]) -> JsonObject:
    """Write a volume with tokens: audiences by path."""
    sources = [{"serviceAccountToken": {"path": path, "audience": audience}} for path, audience in tokens.items()]
    return {"name": name, "projected": {"sources": sources}}


def seen(annotations: Mapping[str, str], tokens: Mapping[str, str] | None = None, **spec: Any) -> Snapshot:  # noqa: ANN401  fields
    """Write a cluster whose workload has such annotations, and a pod with such injected tokens."""
    found = annotated(annotations, **spec)
    if tokens is not None:
        pod = {"metadata": {"name": "web-1"}, "spec": {"volumes": [projected(names.DOCUMENTED_VOLUME, tokens)]}}
        found = replace(found, pods=[pod])
    return snapshot(accounts=ACCOUNTS, workloads=[found], has_token_proxy=True)


def findings(found: Snapshot, code: Code) -> list[Finding]:
    """Return what is found of one code."""
    return [finding for finding in examine(found).findings if finding.code is code]


@pytest.mark.parametrize(
    ("annotations", "tokens", "wrong"),
    [
        (BINDING, {names.TOKEN_FILE: names.DEFAULT_AUDIENCE}, True),
        (BINDING, {names.TOKEN_FILE: names.BINDING_AUDIENCE}, False),
        ({}, {names.TOKEN_FILE: names.BINDING_AUDIENCE}, True),
        ({}, {names.V160_TOKEN_FILE: names.DEFAULT_AUDIENCE}, False),
        (BOTH, {names.TOKEN_FILE: names.BINDING_AUDIENCE}, True),
        (BOTH, {names.TOKEN_FILE: names.BINDING_AUDIENCE, names.SECOND_TOKEN_FILE: names.DEFAULT_AUDIENCE}, False),
        (BINDING, {}, False),
    ],
)
def test_running_pods(annotations: dict[str, str], tokens: dict[str, str], wrong: bool) -> None:  # noqa: FBT001  a result
    """Pods that are older than the annotation have other audiences than new ones, and are restarted."""
    found = findings(seen(annotations, tokens), Code.WRONG_AUDIENCE)
    assert [finding.fix for finding in found] == (["kubectl -n shop rollout restart deployment/web"] if wrong else [])
    assert findings(replace(seen(annotations, tokens), has_token_proxy=None), Code.WRONG_AUDIENCE) == []


def own(audience: str, file: str = "/var/own/token") -> dict[str, Any]:
    """Write a spec with a token of its own."""
    return {
        "containers": [
            {
                "name": "app",
                "env": [{"name": names.ENV_TOKEN_FILE, "value": file}],
                "volumeMounts": [{"name": "own", "mountPath": "/var/own"}],
            }
        ],
        "volumes": [projected("own", {"token": audience})],
    }


def test_own_file() -> None:
    """A bound pod that names a token of its own sends that one: of another audience it is refused."""
    [finding] = findings(seen(BINDING, **own(names.DEFAULT_AUDIENCE)), Code.WRONG_AUDIENCE)
    assert '{"op":"remove","path":"/spec/template/spec/containers/0/env/0"}' in finding.fix
    for fine in (
        seen(BINDING, **own(names.BINDING_AUDIENCE)),
        seen(BINDING, **own(names.DEFAULT_AUDIENCE, "/elsewhere/token")),
        seen(BINDING, **own(names.DEFAULT_AUDIENCE, "/var/own/other")),
        seen({}, **own(names.DEFAULT_AUDIENCE)),
    ):
        assert findings(fine, Code.WRONG_AUDIENCE) == []


def reads() -> dict[str, Any]:
    """Write a spec whose container reads the second token."""
    return {"containers": [{"name": "app", "args": [f"--token=$({names.ENV_SECOND_TOKEN_FILE})"]}]}


def test_second_token() -> None:
    """A second token that is read but not projected, or has the first one's audience, is a finding."""
    code, default = Code.SECOND_TOKEN_MISSING, {names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE}
    [finding] = findings(seen(BINDING, **reads()), code)
    assert f'"{names.SECOND_AUDIENCE}":"{names.DEFAULT_AUDIENCE}"' in finding.fix
    [finding] = findings(seen(default), code)
    assert f'"{names.USE_BINDING}":"true"' in finding.fix
    [finding] = findings(replace(seen({}, **reads()), has_token_proxy=False), code)
    assert f'"{names.SECOND_AUDIENCE}":"{names.BINDING_AUDIENCE}"' in finding.fix
    assert findings(seen(BOTH, **reads()), code) == findings(seen({}), code) == []
    assert findings(replace(seen(default), has_token_proxy=None), code) == []
