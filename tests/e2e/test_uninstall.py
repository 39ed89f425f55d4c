"""`helm uninstall` leaves nothing behind."""

from pathlib import Path

from testbed.cluster.control_plane import Cluster
from testbed.cluster.server import wait_until_true
from tests.cluster.support.release import Release
from tests.cluster.test_chart import everything
from tests.e2e.installed import mutated, values, wait
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


def test_uninstall(cluster: Cluster, tmp_path: Path) -> None:
    """`helm uninstall` leaves no object and no pod, and pods of every namespace can be created afterwards."""
    release = Release(cluster, cluster.create_namespace(RESTRICTED), tmp_path)
    namespace = release.workload_namespace()
    wait_until_true(
        lambda: "/default" in cluster.kubectl("get", "sa", "-o", "name", f"-n{namespace}").stdout, "it is set up"
    )
    before = everything(cluster)
    release.apply("install", **values(**EVERYTHING))
    wait(release)
    wait_until_true(lambda: mutated(release, namespace), "the API server reaches the webhook")
    made = everything(cluster) - before

    with timed("helm uninstall to nothing left"):
        done = release.helm("uninstall", release.name)
        assert not release.is_mutated(namespace)
        wait_until_true(lambda: everything(cluster) - before == set(), "nothing is left", 60)

    assert (done.returncode, done.stderr) == (0, "")
    note(f"objects made by install and its controllers, all gone after uninstall: {len(made)}")
