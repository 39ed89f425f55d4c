"""Credential plugins, run as kubectl runs them."""

import json
from pathlib import Path
from typing import Any

import pytest

from azwi_cli.cluster import exec_plugin
from azwi_cli.console.errors import CommandError

V1 = "client.authentication.k8s.io/v1"
CLUSTER = {
    "server": "https://127.0.0.1:6443",
    "extensions": [{"name": exec_plugin.EXTENSION, "extension": {"audience": "a"}}],
}


def plugin(tmp_path: Path, script: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401  fields
    """Write a plugin, and what a kubeconfig says of it."""
    file = tmp_path / "plugin"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return {"apiVersion": V1, "command": str(file), "interactiveMode": "Never", **fields}


def issued(token: str = "", version: str = V1, **status: str) -> str:
    """Write a script that issues credentials."""
    answer = json.dumps(
        {"apiVersion": version, "kind": "ExecCredential", "status": {**({"token": token} if token else {}), **status}}
    )
    return f"echo '{answer}'"


def test_token(tmp_path: Path) -> None:
    """A plugin's token is the user's; arguments and variables of the kubeconfig reach the plugin."""
    script = 'test "$1$NAME" = argvalue || exit 9\n' + issued("t")
    found = exec_plugin.credentials(
        plugin(tmp_path, script, args=["arg"], env=[{"name": "NAME", "value": "value"}]), CLUSTER
    )
    assert found == {"token": "t"}


def test_certificate(tmp_path: Path) -> None:
    """A plugin may issue a client certificate with its key."""
    found = exec_plugin.credentials(plugin(tmp_path, issued(clientCertificateData="c", clientKeyData="k")), CLUSTER)
    assert found == {"client-certificate-data": "Yw==", "client-key-data": "aw=="}


def test_cluster_information(tmp_path: Path) -> None:
    """A plugin that asks for it gets the cluster, and its own configuration there."""
    script = f'printf "%s" "$KUBERNETES_EXEC_INFO" > {tmp_path}/info\n' + issued("t")
    exec_plugin.credentials(plugin(tmp_path, script, provideClusterInfo=True), CLUSTER)
    spec = json.loads((tmp_path / "info").read_text())["spec"]
    assert spec == {"interactive": False, "cluster": {"server": CLUSTER["server"], "config": {"audience": "a"}}}


@pytest.mark.parametrize(
    ("script", "fields", "message"),
    [
        ("", {"command": "my-kubelogin"}, "my-kubelogin is not installed"),
        ("echo no login >&2; exit 3", {}, "ended with exit status 3: no login"),
        ("kill -9 $$", {}, "ended by signal 9"),
        ("echo hello", {}, "printed no ExecCredential"),
        (issued("t", "client.authentication.k8s.io/v1beta1"), {}, "instead of .*/v1$"),
        (issued(), {}, "issued neither a token nor"),
        (issued("t"), {"apiVersion": "client.authentication.k8s.io/v1alpha1"}, "v1alpha1' is not"),
        (issued("t"), {"interactiveMode": "Sometimes"}, "'Sometimes' is not one of"),
        (issued("t"), {"interactiveMode": "Always"}, "must ask on a terminal"),
    ],
)
def test_failure(tmp_path: Path, script: str, fields: dict[str, str], message: str) -> None:
    """A plugin that is missing, fails or issues nothing usable stops the command, and names itself and why."""
    with pytest.raises(CommandError, match=message):
        exec_plugin.credentials(plugin(tmp_path, script, **fields), CLUSTER)


def test_install_hint(tmp_path: Path) -> None:
    """What the kubeconfig says of how to install the plugin is shown."""
    with pytest.raises(CommandError) as refused:
        exec_plugin.credentials(plugin(tmp_path, "", command="my-kubelogin", installHint="brew it"), CLUSTER)
    assert refused.value.hint == "brew it"


def test_secret_is_not_shown(tmp_path: Path) -> None:
    """What a plugin prints may be a secret, and is in no error."""
    with pytest.raises(CommandError) as refused:
        exec_plugin.credentials(plugin(tmp_path, "echo s3cr3t"), CLUSTER)
    assert "s3cr3t" not in f"{refused.value.message} {refused.value.hint}"
