"""Admission policies instead of a webhook, or beside one."""

from collections.abc import Iterator

import pytest

from testbed.cluster.server import TENANT_ID, Server, register
from tests.azwi_cli.test_main import azwi
from tests.cluster.support.patient import Patient

# No ServiceAccount has this label, so that no other test's pods are handled.
SELECTED = ("--account-selector", "azwi-doctor=nobody", "--guard", "off", "--failure-policy", "Ignore")


def policies(name: str) -> str:
    """Write policies of that name."""
    return azwi("policy", "--tenant-id", TENANT_ID, "--name", name, *SELECTED).stdout


@pytest.fixture
def installed(patient: Patient, server: Server) -> Iterator[Patient]:
    """Apply them under two names; give the webhook back afterwards."""
    names = ("doctor-first", "doctor-second")
    try:
        for name in names:
            done = patient.plane.kubectl("apply", "--server-side", "-f", "-", stdin=policies(name))
            assert done.returncode == 0, done.stderr
        yield patient
    finally:
        for name in names:
            patient.plane.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=policies(name))
        register(patient.plane, server, "main")


def test_engines(installed: Patient) -> None:
    """Every finding about policies is fixed by its command, until policies are the only engine."""
    assert installed.fixed("several-policies")["severity"] == "warning"
    installed.fixed("guard-off")
    kubectl = installed.plane.kubectl
    kubectl("delete", "mutatingadmissionpolicybinding", "doctor-second-inject-pod-label")
    assert installed.fixed("policy-not-bound")["severity"] == "error"
    kubectl("delete", "validatingadmissionpolicy", "doctor-second-warn")
    installed.fixed("policy-missing")
    assert "mutatingwebhookconfiguration main" in installed.fixed("engine-leftover")["fix"]
    found = {finding["code"] for finding in installed.examined()["findings"]}
    assert not found & {"not-installed", "engine-leftover", "several-policies", "policy-not-bound", "guard-off"}
