"""The chart with admission policies: the API server injects identities, without the webhook and beside it."""

from collections.abc import Iterator
from typing import Any, Final

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ApiError, ControlPlane
from testbed.cluster.manifests import CLIENT_ID, container, environment, pod, token_mounts, token_volumes
from testbed.cluster.other_webhook import other_webhook
from testbed.cluster.server import configuration, scope, wait_until_true
from tests.cluster.support.release import Release, released
from tests.cluster.test_policy_cases import manifest_of
from tests.cluster.test_reinvocation import add_container, assert_mutated_once

SELECTED: Final = {names.USE_LABEL: "true"}
# For calls that may each take the timeout of the webhook, on a machine that is busy.
SLOW_SECONDS: Final = 300


def account(release: Release, namespace: str, name: str, labels: JsonObject) -> None:
    """Create an account with a client id."""
    metadata = {"name": name, "labels": labels, "annotations": {names.CLIENT_ID: CLIENT_ID}}
    release.control_plane.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": metadata})


@pytest.fixture(scope="module")
def release(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Install the chart with policies that read labelled accounts."""
    directory = tmp_path_factory.mktemp("policy")
    values = {"engine": "policy", "policy__accountSelector": {"matchLabels": SELECTED}}
    with released(control_plane, directory, **values) as installed:
        yield installed


@pytest.fixture(scope="module")
def namespace(release: Release) -> str:
    """Create a namespace of the policies with the accounts `selected` and `app`, and wait until the policies apply."""
    created = release.workload_namespace()
    account(release, created, "selected", SELECTED)

    def applied() -> bool:
        return (
            error(release, created, annotations={names.TOKEN_EXPIRATION: "1"}).endswith(
                "of the pod is not a number of seconds from 3600 to 86400 (invalid-token-expiration)"
            )
            and "token-missing" in error(release, created, serviceAccountName="app")
            and release.is_mutated(created, serviceAccountName="selected")
        )

    wait_until_true(applied, "the policies apply")
    return created


def create(release: Release, namespace: str, **fields: Any) -> JsonObject:  # noqa: ANN401  a pod's
    """Create a pod of a selected account in a dry run."""
    written = pod(**{"serviceAccountName": "selected", **fields})
    return release.control_plane.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", written)


def error(release: Release, namespace: str, **fields: Any) -> str:  # noqa: ANN401  a pod's
    """Create a pod in a dry run; return the API server's message, empty where it is admitted."""
    try:
        create(release, namespace, **fields)
    except ApiError as refusal:
        return refusal.message
    return ""


@pytest.mark.usefixtures("namespace")
def test_nothing_runs(release: Release) -> None:
    """The release has no server, no certificate and no role: only policies and their bindings."""
    manifests = release.helm("get", "manifest", release.name).stdout
    kinds = {line.removeprefix("kind: ") for line in manifests.splitlines() if line.startswith("kind: ")}
    assert kinds == {
        f"{prefix}AdmissionPolicy{suffix}" for prefix in ("Mutating", "Validating") for suffix in ("", "Binding")
    }


def test_stored(release: Release, namespace: str) -> None:
    """A pod is stored with its identity, and made from what is stored it is the same."""
    stored = release.control_plane.create_pod(namespace, pod("stored", serviceAccountName="selected"))
    assert environment(stored["spec"]["containers"][0])[names.ENV_CLIENT_ID] == CLIENT_ID
    assert token_mounts(stored["spec"]["containers"][0]) == [names.V160_DIRECTORY, names.DOCUMENTED_DIRECTORY]
    copy = manifest_of(stored)
    copy["metadata"]["name"] = "copy"
    again = release.control_plane.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All", copy)
    assert again["spec"] == stored["spec"]


def test_guard(release: Release, namespace: str) -> None:
    """A labelled pod that would end without its token is refused: its account is not one that policies read."""
    with pytest.raises(ApiError, match=r"the pod opts in and ends without its token: .* \(token-missing\)"):
        create(release, namespace, serviceAccountName="app")


def test_container_added_by_another_webhook(release: Release, namespace: str) -> None:
    """A container that a webhook adds gets the identity, too: the API server evaluates the policy again."""
    control_plane = release.control_plane
    with other_webhook(add_container) as other:
        control_plane.apply(configuration("policy-mesh", other.url, other.ca_pem))
        control_plane.request(
            "PATCH",
            f"/api/v1/namespaces/{namespace}",
            {"metadata": {"labels": scope("policy-mesh")}},
            content_type="application/merge-patch+json",
        )
        try:
            wait_until_true(lambda: len(create(release, namespace)["spec"]["containers"]) > 1, "the webhook is called")
            stored = create(release, namespace)
        finally:
            control_plane.kubectl("delete", "mutatingwebhookconfiguration", "policy-mesh")
        wait_until_true(lambda: len(create(release, namespace)["spec"]["containers"]) == 1, "it is called no more")
    assert [own["name"] for own in stored["spec"]["containers"]] == ["app", "mesh"]
    assert_mutated_once(stored)


def test_large_pod(release: Release, namespace: str) -> None:
    """The cost of a pod of 100 containers, each with 20 variables and 10 mounts, is within the API server's budget."""
    variables = [{"name": f"VARIABLE_{number}", "value": "x" * 100} for number in range(20)]
    mounts = [{"name": "data", "mountPath": f"/data/{number}"} for number in range(10)]
    containers = [container(f"app-{number}", env=variables, volumeMounts=mounts) for number in range(100)]
    stored = create(
        release,
        namespace,
        containers=containers,
        volumes=[{"name": "data", "emptyDir": {}}],
        annotations={names.INJECT_PROXY: "true"},
    )
    assert all(environment(own)[names.ENV_CLIENT_ID] == CLIENT_ID for own in stored["spec"]["containers"])
    assert len(token_volumes(stored)) == 2


def test_both(release: Release, namespace: str) -> None:
    """Beside the policies the webhook is called only for the pods that they leave, so that others need no server."""
    release.apply("upgrade", engine="both", policy__accountSelector={"matchLabels": SELECTED})
    wait_until_true(
        lambda: "failed calling webhook" in error(release, namespace, serviceAccountName="app"),
        "the webhook is called for a pod of an account that the policies do not read",
    )
    assert environment(create(release, namespace)["spec"]["containers"][0])[names.ENV_CLIENT_ID] == CLIENT_ID
    with release.replicas():
        wait_until_true(lambda: all(release.bundles()), "the servers write their CA into the configuration")
        # The API server may know it a moment later. Each call that fails meanwhile may take its whole timeout.
        wait_until_true(
            lambda: error(release, namespace, serviceAccountName="app") == "", "the webhook answers", SLOW_SECONDS
        )
        assert release.is_mutated(namespace)
        assert release.is_mutated(namespace, serviceAccountName="selected")
