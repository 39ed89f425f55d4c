"""Servers that opt pods in by ServiceAccount or namespace instead of the pod's label."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from azure_workload_identity import names
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import register, scope, serving

SCOPE = "by-account"


@pytest.fixture(scope="module")
def by_account(
    control_plane: ControlPlane, server_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run a second server beside the first, for all pods of its namespace whatever their labels."""
    directory = tmp_path_factory.mktemp(SCOPE)
    with serving(server_kubeconfig, directory, "--opt-in=service-account") as server:
        register(control_plane, server, SCOPE, labelled_pods_only=False)
        namespace = control_plane.create_namespace(scope(SCOPE))
        control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
        yield namespace


def test_account_opts_in(control_plane: ControlPlane, by_account: str) -> None:
    """A pod without the label is mutated because its account has a client id."""
    stored = control_plane.create_pod(by_account, pod("in", labels={}, serviceAccountName="app"))

    assert environment(stored["spec"]["containers"][0])["AZURE_CLIENT_ID"] == CLIENT_ID


def test_account_without_client_id_stays_out(control_plane: ControlPlane, by_account: str) -> None:
    """A pod whose account has no client id is stored as it is."""
    stored = control_plane.create_pod(by_account, pod("default", labels={}))

    assert "env" not in stored["spec"]["containers"][0]


def test_pod_opts_out(control_plane: ControlPlane, by_account: str) -> None:
    """A pod whose label says "false" is stored as it is, though its account has a client id."""
    opted_out = pod("out", labels={names.USE_LABEL: "false"}, serviceAccountName="app")

    stored = control_plane.create_pod(by_account, opted_out)

    assert "env" not in stored["spec"]["containers"][0]


@pytest.fixture(scope="module")
def by_namespace(
    control_plane: ControlPlane, server_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run a server for namespaces with the label; the API server looks at it and calls the path for that."""
    name = "by-namespace"
    with serving(server_kubeconfig, tmp_path_factory.mktemp(name), "--opt-in=namespace-label") as server:
        register(
            control_plane,
            server,
            name,
            path=names.MUTATE_NAMESPACE_PATH,
            labelled_pods_only=False,
            namespace_labels={names.USE_LABEL: "true"},
        )
        yield name


def test_namespace_opts_in(control_plane: ControlPlane, by_namespace: str) -> None:
    """A pod without the label is mutated in a namespace that has it, and not in one that does not."""
    for labels, mutated in (({names.USE_LABEL: "true"}, True), ({}, False)):
        namespace = control_plane.create_namespace({**scope(by_namespace), **labels})
        control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})

        stored = control_plane.create_pod(namespace, pod("in", labels={}, serviceAccountName="app"))

        assert ("env" in stored["spec"]["containers"][0]) is mutated
