"""The policies of `azwi policy` on a real API server."""

import json
from collections.abc import Iterator

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError, ControlPlane
from testbed.cluster.server import wait_until_true
from testbed.program import TENANT
from tests.azwi_cli.test_main import azwi
from webhook.admission_policy.limits import MAX_EXPRESSION

CLIENT_ID = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
LABEL = {"azwi-policy-test": "true"}
POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
POD: JsonObject = {
    "metadata": {"name": "web", "labels": {names.USE_LABEL: "true"}},
    "spec": {"serviceAccountName": "app", "containers": [{"name": "app", "image": "registry.test/app:1"}]},
}


@pytest.fixture
def policies(control_plane: ControlPlane) -> Iterator[None]:
    """Apply them for the labelled ServiceAccounts only, and delete them."""
    selector = ",".join(f"{key}={value}" for key, value in LABEL.items())
    options = ("--name", "azwi-test", "--guard", "off", "--account-selector", selector)
    text = azwi("policy", "--tenant-id", TENANT, *options).stdout
    done = control_plane.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    try:
        assert done.returncode == 0, done.stderr
        yield
    finally:
        control_plane.kubectl("delete", "-f", "-", stdin=text)


def created(control_plane: ControlPlane, namespace: str) -> JsonObject:
    """Create the pod in a dry run."""
    return control_plane.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", POD)


def test_selected_accounts(control_plane: ControlPlane, policies: None) -> None:  # noqa: ARG001  the fixture's effect
    """The printed policies inject into the pods of selected ServiceAccounts, and of no others."""
    labelled, other = control_plane.create_namespace(), control_plane.create_namespace()
    metadata = {"name": "app", "annotations": {names.CLIENT_ID: CLIENT_ID}}
    for namespace, labels in ((labelled, LABEL), (other, {})):
        account = {"metadata": {**metadata, "labels": labels}}
        control_plane.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", account)

    def injected() -> bool:
        return CLIENT_ID in json.dumps(created(control_plane, labelled))

    wait_until_true(injected, "the policies apply")
    assert CLIENT_ID not in json.dumps(created(control_plane, other))


def test_longest_expression(control_plane: ControlPlane) -> None:
    """The API server takes expressions of the length that azwi policy takes, and none that is longer."""
    body: JsonObject = {"metadata": {"name": "azwi-test-length"}}

    def create(length: int) -> None:
        variables = [{"name": "long", "expression": f"'{'x' * (length - 2)}'"}]
        rules = [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]
        spec = {
            "matchConstraints": {"resourceRules": rules},
            "variables": variables,
            "validations": [{"expression": "variables.long == ''"}],
        }
        control_plane.request("POST", f"{POLICIES}?dryRun=All", {**body, "spec": spec})

    create(MAX_EXPRESSION)
    with pytest.raises(ApiError, match="limit"):
        create(MAX_EXPRESSION + 1)
