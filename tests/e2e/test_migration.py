"""From v1.6.0 to this webhook and back, while pods are created all the time.

v1.6.0 is the stand-in of testbed.upstream, under its real names. MIGRATION_RUNS says how often each way is gone.
"""

import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from azure_workload_identity import names
from azwi_cli.commands.migrate.conversion import convert
from testbed.cluster.control_plane import UNTIL_TIMEOUT, Cluster
from testbed.cluster.manifests import CLIENT_ID, environment, pod
from testbed.cluster.server import TENANT_ID, scope, wait_until_true
from testbed.upstream import chart as upstream
from tests.cluster.support.load import IN_FLIGHT, Created, continuous
from tests.cluster.support.node.node import Node
from tests.cluster.support.release import FULLNAME, Release
from tests.e2e.installed import is_routed, values
from tests.e2e.report import note
from tests.e2e.test_upgrades import CLIENTS, NEVER, PAUSE_SECONDS, span
from tests.image import build

LONG: Final = "MIGRATION_RUNS" in os.environ
RUNS: Final = range(1, int(os.environ.get("MIGRATION_RUNS", "1")) + 1)
OURS: Final = "azwi-system"
OTHER_TENANT: Final = "72f988bf-86f1-41af-91ab-2d7cd011db47"
REPLICAS: Final = 2
# The API server's errors for a process that ended without draining. Servers of this project drain.
BARE: Final = "has no client id"
SLOW: Final = "context deadline exceeded"
ENDED: Final = f"{IN_FLIGHT}|connection refused"


@dataclass(frozen=True, slots=True)
class Migration:
    """Both releases, the namespace whose pods both are to mutate, and v1.6.0's chart."""

    node: Node
    theirs: Release
    ours: Release
    namespace: str
    chart: Path

    @property
    def cluster(self) -> Cluster:
        """The cluster."""
        return self.node.cluster

    def selector(self) -> dict[str, Any]:
        """The namespaces that both watch."""
        return {"mutatingWebhookNamespaceSelector": {"matchLabels": scope(upstream.NAMESPACE)}}

    def run_upstream(self, verb: str, **more: Any) -> None:  # noqa: ANN401  values
        """Install v1.6.0's chart, or upgrade to it."""
        arguments = (verb, upstream.RELEASE, str(self.chart), "--values=-")
        reset = ["--reset-values"] if verb == "upgrade" else []
        done = self.theirs.helm(*arguments, *reset, values={**self.selector(), **more})
        assert done.returncode == 0, done.stderr
        self.settle(upstream.NAMESPACE, upstream.DEPLOYMENT)

    def take_over(self, **more: Any) -> None:  # noqa: ANN401  values
        """Upgrade v1.6.0's release to this chart, with its own values."""
        converted, _ = convert({"azureTenantID": TENANT_ID, **self.selector()}, in_place=True)
        self.theirs.apply("upgrade", "--reset-values", **values(**converted, **more))
        self.settle(upstream.NAMESPACE, upstream.DEPLOYMENT)

    def install_beside(self) -> None:
        """Install this chart in a namespace of its own, by the documented two commands."""
        for verb in ("install", "upgrade"):
            self.ours.apply(verb, **values(webhook__failWhenReady=True, **self.selector()))
            self.settle(OURS, FULLNAME)

    def uninstall_upstream(self) -> None:
        """Uninstall v1.6.0's release by the documented two commands: its pods end at once, so nobody may call them."""
        self.cluster.kubectl("delete", "mutatingwebhookconfiguration", upstream.CONFIGURATION)
        self.uninstall(self.theirs)

    def uninstall(self, release: Release) -> None:
        """Uninstall a release, and wait until its pods are gone."""
        done = release.helm("uninstall", release.name)
        assert done.returncode == 0, done.stderr
        wait_until_true(lambda: pods(self.cluster, release.namespace) == 0, "its pods are gone")

    def settle(self, namespace: str, deployment: str) -> None:
        """Wait until a rollout is complete, the former pods are gone, and kube-proxy knows the others."""
        where = f"--namespace={namespace}"
        command = ("rollout", "status", f"deployment/{deployment}", where, UNTIL_TIMEOUT)
        wait_until_true(lambda: self.cluster.kubectl(*command).returncode == 0, "it is rolled out")
        wait_until_true(lambda: pods(self.cluster, namespace) == REPLICAS, "former pods are gone")
        service = upstream.SERVICE if namespace == upstream.NAMESPACE else FULLNAME
        wait_until_true(lambda: is_routed(self.node, namespace, service), "kube-proxy knows the pods")

    @contextmanager
    def creating(self, way: str) -> Iterator[Created]:
        """Create pods meanwhile, and note what became of them."""
        with continuous(self.cluster, self.namespace, CLIENTS, PAUSE_SECONDS, schedulingGates=NEVER) as created:
            time.sleep(1)
            yield created
            time.sleep(1)
        refused = [failure for failure in created.failures if BARE not in failure]
        bare = len(created.failures) - len(refused)
        row = (
            f"{created.count:6} pods, {len(refused):5} refused within {span(refused):5.1f} s, {bare:4} without identity"
        )
        note(f"{way:56} {row}")
        reasons = Counter(re.sub(r"^\S+ |\b\w+-\d+\b|.*\": ", "", failure) for failure in refused)
        for reason, number in reasons.items():
            note(f"{number:64} times: {reason[:120]}")
        self.cluster.kubectl("delete", "pods", "--all", f"--namespace={self.namespace}", "--wait=false")


def lost(created: Created) -> list[str]:
    """Return the failures, except those for want of CPU: a server that is alive did not answer in time."""
    return [failure for failure in created.failures if SLOW not in failure]


def pods(cluster: Cluster, namespace: str) -> int:
    """Return how many pods there are, those that are about to end among them."""
    listed = cluster.kubectl("get", "pods", f"--namespace={namespace}", "--output=json")
    return len(json.loads(listed.stdout)["items"])


@pytest.fixture(scope="module")
def migration(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Migration]:
    """Make the namespaces and the chart; nothing is installed yet."""
    cluster, directory = node.cluster, tmp_path_factory.mktemp("migration")
    chart = upstream.write(directory / "upstream", build.NAME)
    for name in (upstream.NAMESPACE, OURS):
        cluster.create_namespace(name=name)
    namespace = cluster.create_namespace(scope(upstream.NAMESPACE))
    cluster.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
    theirs = Release(cluster, upstream.NAMESPACE, directory, upstream.RELEASE)
    ours = Release(cluster, OURS, directory)
    yield Migration(node, theirs, ours, namespace, chart)
    for release in (theirs, ours):
        release.helm("uninstall", release.name)
    cluster.kubectl("delete", "namespace", upstream.NAMESPACE, OURS, namespace, "--wait=false")


@pytest.mark.parametrize("run", RUNS)
def test_there_and_back(migration: Migration, run: int) -> None:
    """No way refuses anybody, but for calls that v1.6.0's pods lose in place: they end at once."""
    with migration.creating(f"run {run}: v1.6.0's own start, for comparison"):
        migration.run_upstream("install")
    with migration.creating(f"run {run}: in place") as there:
        migration.take_over()
    with migration.creating(f"run {run}: back by helm rollback") as rolled_back:
        done = migration.theirs.helm("rollback", upstream.RELEASE, "1")
        assert done.returncode == 0, done.stderr
        migration.settle(upstream.NAMESPACE, upstream.DEPLOYMENT)
    with migration.creating(f"run {run}: in place again, with webhook.secondCall") as again:
        migration.take_over(webhook__secondCall=True)
    with migration.creating(f"run {run}: back, beside a second release of this chart") as back:
        migration.install_beside()
        migration.run_upstream("upgrade", mutatingWebhookNamespaceSelector=upstream.NONE)
        migration.run_upstream("upgrade")
        migration.uninstall(migration.ours)
    with migration.creating(f"run {run}: side by side") as beside:
        migration.install_beside()
        migration.uninstall_upstream()
    migration.uninstall(migration.ours)
    assert (lost(rolled_back), lost(back), lost(beside)) == ([], [], [])
    assert [failure for failure in (*lost(there), *lost(again)) if not re.search(ENDED, failure)] == []


@pytest.mark.skipif(not LONG, reason="one more takeover, for make migration")
@pytest.mark.parametrize("run", RUNS)
def test_in_place_from_servers_that_drain(migration: Migration, run: int) -> None:
    """If v1.6.0's pods drained, the way in place would refuse nobody: what it refuses is lost with them."""
    migration.run_upstream("install", drainSeconds=values()["drainSeconds"])
    with migration.creating(f"run {run}: in place, if v1.6.0's pods drained") as there:
        migration.take_over()
    migration.uninstall(migration.theirs)
    assert lost(there) == []


def test_settings_of_an_upgrade_count_soon(migration: Migration) -> None:
    """After `helm upgrade --wait` no pod is admitted with the former settings for longer than replicas drain."""
    migration.ours.apply("install", **values(**migration.selector()))
    migration.settle(OURS, FULLNAME)
    changed = values(azureTenantID=OTHER_TENANT, **migration.selector())
    migration.ours.apply("upgrade", "--wait", **changed)
    begun, last = time.monotonic(), 0.0
    path = f"/api/v1/namespaces/{migration.namespace}/pods?dryRun=All"
    counted: dict[str, int] = {}
    while pods(migration.cluster, OURS) > REPLICAS or time.monotonic() - begun < 2:
        stored = migration.cluster.request("POST", path, pod(serviceAccountName="app"))
        tenant = environment(stored["spec"]["containers"][0])[names.ENV_TENANT_ID]
        counted[tenant] = counted.get(tenant, 0) + 1
        last = time.monotonic() - begun if tenant == TENANT_ID else last
    migration.uninstall(migration.ours)
    note(f"{last:7.2f} s  after helm upgrade --wait the last pod with the former settings: {counted}")
    assert last < values()["drainSeconds"]
