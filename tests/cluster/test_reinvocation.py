"""Other mutating webhooks beside this one: the API server calls each again when another changed the pod."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, container, environment, generated, pod, token_mounts, token_volumes
from testbed.cluster.other_webhook import Mutation, other_webhook
from testbed.cluster.server import configuration, scope, wait_until_true

pytestmark = pytest.mark.usefixtures("webhook")


def add_container(seen: JsonObject) -> list[JsonObject]:
    """Add a container once, as a service mesh does."""
    if any(container["name"] == "mesh" for container in seen["spec"]["containers"]):
        return []
    return [{"op": "add", "path": "/spec/containers/-", "value": container("mesh")}]


def give_name(seen: JsonObject) -> list[JsonObject]:
    """Name a pod that has none yet."""
    if "name" in seen["metadata"]:
        return []
    return [{"op": "add", "path": "/metadata/name", "value": "named-on-the-way"}]


@contextmanager
def mutated_afterwards(control_plane: ControlPlane, mutation: Mutation, name: str) -> Iterator[str]:
    """Make a namespace whose pods are mutated by the server and then by a second webhook."""
    with other_webhook(mutation) as other:
        # The API server calls webhooks in the order of their configurations' names: this one after `main`.
        control_plane.apply(configuration(name, other.url, other.ca_pem))
        namespace = control_plane.create_namespace(scope("main", name))
        control_plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
        probe = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"

        def called() -> bool:
            control_plane.request("POST", probe, pod("probe", labels={}))
            return other.calls > 0

        wait_until_true(called, f"the API server calls webhook {name}")
        yield namespace


def assert_mutated_once(stored: JsonObject) -> None:
    """Check that every container has identity and token, once."""
    assert len(token_volumes(stored)) == 2
    for injected in stored["spec"]["containers"]:
        variables = [variable["name"] for variable in injected["env"]]
        assert sorted(variables) == sorted(set(variables))
        assert environment(injected)["AZURE_CLIENT_ID"] == CLIENT_ID
        assert token_mounts(injected) == [names.V160_DIRECTORY, names.DOCUMENTED_DIRECTORY]


def test_container_added_by_another_webhook(control_plane: ControlPlane) -> None:
    """A container that a later webhook adds is mutated too, and nothing is there twice."""
    with mutated_afterwards(control_plane, add_container, "mesh-container") as namespace:
        stored = control_plane.create_pod(namespace, pod(serviceAccountName="app"))

    assert [container["name"] for container in stored["spec"]["containers"]] == ["app", "mesh"]
    assert_mutated_once(stored)


def test_name_given_by_another_webhook(control_plane: ControlPlane) -> None:
    """A pod that gets its name between two calls has one token volume, not one for each name."""
    with mutated_afterwards(control_plane, give_name, "mesh-name") as namespace:
        stored = control_plane.create_pod(namespace, generated(pod(serviceAccountName="app")))

    assert stored["metadata"]["name"] == "named-on-the-way"
    assert_mutated_once(stored)
