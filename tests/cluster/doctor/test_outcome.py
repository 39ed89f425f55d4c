"""The third outcome: nothing could be looked at, which is never taken for an all-clear."""

import json
import subprocess
from pathlib import Path

import click
import pytest

from azwi_cli.commands.doctor.reads import azure
from azwi_cli.commands.doctor.reads.azure import AzureState
from azwi_cli.console.errors import Status
from testbed.cluster.control_plane import write_kubeconfig
from testbed.cluster.server import TENANT_ID
from testbed.processes import MAX_WAIT_SECONDS, free_ports
from tests.cluster.support.patient import Patient, deployment


def kubeconfig(patient: Patient, **user: object) -> Path:
    """Write a kubeconfig of the patient's cluster with another user."""
    file = patient.directory / "other"
    return write_kubeconfig(file, patient.plane.url, patient.plane.ca_file, user)


def plugin(command: str) -> dict[str, object]:
    """Name a credential plugin."""
    version = "client.authentication.k8s.io/v1"
    return {"exec": {"apiVersion": version, "command": command, "interactiveMode": "Never"}}


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ({"token": "dead"}, "does not accept your login"),
        ({}, "has no credentials"),
        (plugin("my-kubelogin"), "my-kubelogin is not installed"),
        (plugin("false"), "ended with exit status 1"),
    ],
    ids=["dead-login", "no-credentials", "plugin-missing", "plugin-failing"],
)
def test_no_login(patient: Patient, user: dict[str, object], why: str) -> None:
    """Without a login the doctor could not look: its own exit status and headline, in JSON an outcome, no finding."""
    file = kubeconfig(patient, **user)
    done = patient.doctor(kubeconfig=file)
    assert (done.exit_code, done.stdout) == (Status.UNKNOWN, "")
    assert done.stderr.startswith("azwi: could not look: ")
    assert why in done.stderr
    machine = patient.doctor("-o", "json", kubeconfig=file)
    document = json.loads(machine.stdout)
    assert (machine.exit_code, document["outcome"], document["findings"]) == (Status.UNKNOWN, "unknown", [])
    assert {check["status"] for check in document["checks"]} == {"unknown"}
    assert why in document["notLookedAt"][0]["why"]


def test_plugin_that_works(patient: Patient) -> None:
    """A credential plugin's token is used, as kubectl uses it."""
    token = json.loads(patient.plane.kubeconfig_for(patient.namespace, "app").read_text())["users"][0]["user"]["token"]
    issued = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": token}}
    program = patient.directory / "login"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(issued)}'\n")
    program.chmod(0o755)
    file = kubeconfig(patient, **plugin(str(program)))
    document = json.loads(patient.doctor("-o", "json", kubeconfig=file).stdout)
    assert any("cannot list resource" in gap["why"] for gap in document["notLookedAt"])


def test_forbidden(patient: Patient) -> None:
    """A login that may see nothing that matters is no all-clear, and names the permissions that are needed."""
    file = patient.plane.kubeconfig_for(patient.namespace, "app")
    done = patient.doctor(kubeconfig=file)
    assert done.exit_code == Status.UNKNOWN
    assert done.stdout.splitlines()[-1].endswith("This is no all-clear.")
    assert "needs: permission to list ServiceAccounts" in done.stdout


def test_nobody_answers(patient: Patient) -> None:
    """An API server that does not answer, or takes too long, is not a healthy one."""
    url = f"https://127.0.0.1:{free_ports(1)[0]}"
    file = write_kubeconfig(patient.directory / "other", url, patient.plane.ca_file, {"token": "t"})
    done = patient.doctor("--request-timeout=1s", kubeconfig=file)
    assert done.exit_code == Status.UNKNOWN
    assert "Connection refused" in done.stderr


def test_azure_that_was_asked_for(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """An Azure that the command line names and that cannot be reached is no all-clear; one that is not named may be."""
    monkeypatch.setenv("PATH", "/nowhere")
    patient.apply(deployment())
    assert patient.examined()["outcome"] == "ok"
    closed = f"https://127.0.0.1:{free_ports(1)[0]}"
    asked = (f"--graph-endpoint={closed}", f"--tenant-id={TENANT_ID}", "--auth-method=cli")
    assert patient.examined(*asked)["outcome"] == "unknown"


def test_azure_is_asked_last(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found in the cluster is printed before Azure is asked."""
    marker = "now Azure is asked"

    def read(*_: object) -> AzureState:
        click.echo(marker)
        return AzureState()

    monkeypatch.setattr(azure, "read", read)
    lines = patient.doctor().stdout.splitlines()
    assert lines.index("workloads") < lines.index(marker) < lines.index("azure")


def test_kubectl_agrees(patient: Patient) -> None:
    """Kubectl ends with an error for the same kubeconfigs, too."""
    for user in (plugin("my-kubelogin"), plugin("false"), {"token": "dead"}):
        file = kubeconfig(patient, **user)
        ended = subprocess.run(
            [str(patient.plane.programs.kubectl), f"--kubeconfig={file}", "get", "namespaces"],
            capture_output=True,
            check=False,
            timeout=MAX_WAIT_SECONDS,
        )
        assert ended.returncode == 1
