"""The policies of `azwi policy` on an API server that emulates Kubernetes 1.35, with its version of the policies."""

from pathlib import Path
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError, ControlPlane, Programs, control_plane
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import wait_until_true
from testbed.program import TENANT
from tests.azwi_cli.test_main import azwi

# The admission plugin of 1.36 reads policies as v1 even then, so that has to be served, too.
EMULATED: Final = (
    "--emulated-version=1.35",
    "--emulation-forward-compatible=true",
    "--feature-gates=MutatingAdmissionPolicy=true",
    "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
)
ASKS_TOO_LITTLE: Final = {names.TOKEN_EXPIRATION: "1"}


def created(plane: ControlPlane, namespace: str, **fields: Any) -> JsonObject:  # noqa: ANN401  a pod's
    """Create a pod in a dry run."""
    written = pod(labels={names.USE_LABEL: "true"}, serviceAccountName="app", **fields)
    return plane.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", written)


def test_emulated(programs: Programs, tmp_path: Path) -> None:
    """The policies as v1beta1 inject and refuse with the functions that expressions had in Kubernetes 1.35."""
    text = azwi("policy", "--tenant-id", TENANT, "--api-version", "v1beta1", "--guard", "off").stdout
    with control_plane(programs, tmp_path, flags=EMULATED) as plane:
        done = plane.kubectl("apply", "--server-side", "-f", "-", stdin=text)
        assert done.returncode == 0, done.stderr
        assert "mutatingadmissionpolicy.admissionregistration.k8s.io/azwi-inject" in done.stdout
        namespace = plane.create_namespace()
        plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})

        def injected() -> bool:
            variables = environment(created(plane, namespace)["spec"]["containers"][0])
            return variables.get(names.ENV_CLIENT_ID) == CLIENT_ID

        def refused() -> bool:
            try:
                created(plane, namespace, annotations=ASKS_TOO_LITTLE)
            except ApiError as refusal:
                return "invalid-token-expiration" in refusal.message
            return False

        # The API server compiles them one by one.
        wait_until_true(injected, "the policy that injects applies")
        wait_until_true(refused, "the policy that refuses applies")
