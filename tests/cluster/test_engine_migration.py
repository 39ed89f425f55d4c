"""From the webhook to policies and back by `helm upgrade`, while pods are created all the time."""

from contextlib import ExitStack
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from testbed.cluster.control_plane import ApiError, ControlPlane
from testbed.cluster.manifests import pod
from testbed.cluster.server import wait_until_true
from tests.cluster.support.load import Created, continuous
from tests.cluster.support.release import Release, released

# So many creations go on before the next step, whatever they meet.
CREATIONS: Final = 20


def refused_by(release: Release, namespace: str) -> str:
    """Who refuses a pod whose token lives too long: "policy" or "webhook"."""
    wrong = pod("wrong", serviceAccountName="app", annotations={names.TOKEN_EXPIRATION: "1000000"})
    try:
        release.control_plane.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", wrong)
    except ApiError as refusal:
        return "policy" if "ValidatingAdmissionPolicy" in refusal.message else "webhook"
    return "nobody"


def wait_for(release: Release, namespace: str, engine: str) -> None:
    """Wait until an engine decides."""
    wait_until_true(lambda: refused_by(release, namespace) == engine, f"the {engine} decides")


def wait_for_creations(created: Created) -> None:
    """Wait until some more pods were created."""
    least = created.count + CREATIONS
    wait_until_true(lambda: created.count >= least, "pods are created")


def test_there_and_back(control_plane: ControlPlane, tmp_path: Path) -> None:
    """By way of `both`, no creation fails and no pod is without its identity, there and back."""
    with released(control_plane, tmp_path) as release, ExitStack() as servers:
        servers.enter_context(release.replicas())
        namespace = release.workload_namespace()
        wait_until_true(lambda: release.is_mutated(namespace), "the API server calls the webhook")
        with continuous(control_plane, namespace, 2, 0.05) as created:
            release.apply("upgrade", engine="both")
            wait_for(release, namespace, "policy")
            wait_until_true(release.policy_injects, "the policy that injects applies, too")
            release.apply("upgrade", engine="policy")
            wait_for_creations(created)
            servers.close()
            wait_for_creations(created)

            release.apply("upgrade", engine="both")
            wait_for_creations(created)
            servers.enter_context(release.replicas())
            release.apply("upgrade", engine="webhook")
            wait_for(release, namespace, "webhook")
            wait_for_creations(created)
    assert created.failures == []
