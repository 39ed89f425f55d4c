"""`helm uninstall` leaves nothing behind."""

from pathlib import Path

from testbed.cluster.control_plane import ApiError, Cluster
from testbed.cluster.server import wait_until_true
from tests.cluster.support.mutation import wait_until_mutated
from tests.cluster.support.release import Release
from tests.cluster.test_chart import everything
from tests.e2e.installed import values, wait
from tests.e2e.report import note, timed
from tests.e2e.workloads import RESTRICTED

EVERYTHING = {
    "mutatingWebhookNamespaceSelector": {},  # pods of every namespace
    "optIn": ["pod-label", "namespace-label", "service-account"],
    "identityMapping": {"mappings": [{"namespace": "none"}]},
    "networkPolicy": {"enabled": True, "apiServerPorts": [443, 26443]},
    "metrics": {"service": {"enabled": True}, "dashboard": {"enabled": True}},
    "autoscaling": {"enabled": True},
    "drainSeconds": 1,
}


def is_set_up(cluster: Cluster, namespace: str) -> bool:
    """Whether each of the two controllers that put something into a new namespace has done so."""
    made = cluster.kubectl("get", "serviceaccounts,configmaps", "--output=name", f"--namespace={namespace}").stdout
    return {"serviceaccount/default", "configmap/kube-root-ca.crt"} <= set(made.split())


def is_plain(release: Release, namespace: str) -> bool:
    """Whether a pod is admitted as it is written."""
    try:
        return not release.is_mutated(namespace)
    except ApiError:
        return False


def test_uninstall(cluster: Cluster, tmp_path: Path) -> None:
    """`helm uninstall` leaves no object and no pod, and pods of every namespace can be created afterwards."""
    release = Release(cluster, cluster.create_namespace(RESTRICTED), tmp_path)
    namespace = release.workload_namespace()
    for created in (release.namespace, namespace):
        wait_until_true(lambda created=created: is_set_up(cluster, created), f"{created} is set up")  # type: ignore[misc]
    before = everything(cluster)
    release.apply("install", **values(**EVERYTHING))
    wait(release)
    wait_until_mutated(release, namespace)
    made = everything(cluster) - before

    with timed("helm uninstall to nothing left"):
        done = release.helm("uninstall", release.name)
        wait_until_true(lambda: is_plain(release, namespace), "the API server calls nobody")
        wait_until_true(lambda: everything(cluster) - before == set(), "nothing is left")

    assert (done.returncode, done.stderr) == (0, "")
    note(f"objects made by install and its controllers, all gone after uninstall: {len(made)}")
