"""Three API servers behind a load balancer, each with an etcd of its own, and pods created through different ones.

API_SERVER_SECONDS says how long a server is away or paused; `make api-servers` takes 15, and prints the table.
"""

import base64
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from azure_workload_identity import names
from azure_workload_identity.cluster.client import SILENCE_SECONDS
from certs.phases import CertificateSpec, step
from certs.secret_keys import CA
from testbed.cluster.control_plane import Programs
from testbed.cluster.manifests import CLIENT_ID
from testbed.cluster.replicated import Member, ReplicatedControlPlane
from testbed.cluster.server import wait_until_true
from testbed.processes import MAX_WAIT_SECONDS, paused, until
from tests.cluster.support.api_servers import balanced, failed_calls
from tests.cluster.support.installation import Installation, Replica, installed
from tests.cluster.support.mutation import wait_until_mutated
from tests.cluster.support.pairs import CLIENTS, Seen, creating, head
from tests.cluster.test_faults import OTHER_CLIENT_ID, client_id, review

# A connection that breaks in the middle of an answer is closed by the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:Exception ignored in. <(ssl\.SSLSocket|socket\.socket):pytest.PytestUnraisableExceptionWarning"
)
LONG: Final = "API_SERVER_SECONDS" in os.environ
SECONDS: Final = float(os.environ.get("API_SERVER_SECONDS", "1"))
AROUND_SECONDS: Final = 1.0
REPLICAS: Final = 2
ROTATIONS: Final = 3 if LONG else 1
# A CA is announced with a third of its life left and promoted a moment later; a leaf is renewed after two thirds.
CA_LIFETIME: Final = timedelta(seconds=90 if LONG else 900)
CERT_LIFETIME: Final = CA_LIFETIME / 2
# While etcd elects, nobody can read an account that is not cached: such a read is given up after 2 s.
ELECTION: Final = "accounts-unavailable"
ELECTION_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Stage:
    """The API servers, the webhook's installation and the namespace of the pods."""

    plane: ReplicatedControlPlane
    installation: Installation
    namespace: str

    @property
    def affected(self) -> tuple[Member, ...]:
        """The members that something happens to in turn: all of them, or one in a short run."""
        return self.plane.members if LONG else self.plane.members[:1]

    @contextmanager
    def creating(self, what: str) -> Iterator[Seen]:
        """Create pods before, during and after the block, and print the row of the table."""
        before = failed_calls(self.plane)
        urls = [member.url for member in self.plane.members]
        with creating(self.plane.http, urls, self.namespace) as seen:
            time.sleep(AROUND_SECONDS)
            yield seen
            time.sleep(AROUND_SECONDS)
        print(seen.row(what, str(max(0, failed_calls(self.plane) - before))))  # noqa: T201  the table
        for failure in seen.failures[:CLIENTS]:
            print(failure.message)  # noqa: T201  beside the table

    @contextmanager
    def replicas(self, *flags: str) -> Iterator[list[Replica]]:
        """Run the webhook's replicas."""
        with ExitStack() as stack:
            running = [stack.enter_context(self.installation.replica(*flags)) for _ in range(REPLICAS)]
            for member in self.plane.members:
                seen = replace(self.installation, control_plane=self.plane.through(member))
                wait_until_mutated(seen, self.namespace)
            yield running


@pytest.fixture(scope="module")
def stage(programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Run the API servers, and make an installation without a replica."""
    directory = tmp_path_factory.mktemp("api-servers")
    with balanced(programs, directory) as plane, installed(plane, directory) as installation:
        print(head("Calls failed"))  # noqa: T201  the table
        yield Stage(plane, installation, installation.workload_namespace())


def test_rotation(stage: Stage) -> None:
    """While the CA is replaced, every API server trusts the certificate that is served."""
    host = f"{names.WEBHOOK_SERVICE}.{stage.installation.name}.svc"
    spec = CertificateSpec((host,), CA_LIFETIME, CERT_LIFETIME)
    old = step({}, spec, datetime.now(UTC) - CA_LIFETIME * 0.7)  # so that the first rotation is due at once
    data = {key: base64.b64encode(value).decode() for key, value in old.data.items()}
    secrets = f"/api/v1/namespaces/{stage.installation.name}/secrets"
    stage.plane.request("POST", secrets, {"metadata": {"name": names.CERT_SECRET}, "data": data})
    lifetimes = f"--ca-lifetime={CA_LIFETIME.seconds}s", f"--cert-lifetime={CERT_LIFETIME.seconds}s"
    authorities: set[bytes] = set()
    with stage.replicas(*lifetimes), stage.creating(f"{ROTATIONS} rotations of CA and certificate") as seen:
        deadline = time.monotonic() + MAX_WAIT_SECONDS * (1 + ROTATIONS)
        while len(authorities) <= ROTATIONS and time.monotonic() < deadline:
            authorities.add(stage.installation.certificates()[CA])
            time.sleep(0.2)
    assert len(authorities) > ROTATIONS
    assert (seen.failures, seen.without_client_id) == ([], [])


@pytest.fixture(scope="module")
def served(stage: Stage) -> Iterator[Stage]:
    """Run replicas with the default lifetimes."""
    with stage.replicas():
        yield stage


def undisturbed(_: Stage) -> None:
    """Nothing happens."""
    time.sleep(SECONDS)


def killed(stage: Stage) -> None:
    """Each API server is killed, and started again later."""
    for member in stage.affected:
        with member.apiserver.away():
            time.sleep(SECONDS)


def paused_servers(stage: Stage) -> None:
    """Each API server is paused: what its connections carry is not answered until it continues."""
    for member in stage.affected:
        with paused(member.apiserver.process_id):
            time.sleep(SECONDS)
        time.sleep(AROUND_SECONDS)


def lagging(stage: Stage) -> None:
    """Each etcd that does not lead is paused: its API server answers from a cache that lags behind, or not at all."""
    for member in stage.affected:
        if not member.leads(stage.plane.http):
            with paused(member.etcd.process_id):
                time.sleep(SECONDS)
            time.sleep(AROUND_SECONDS)


FAULTS: Final = {
    "each API server paused in turn": paused_servers,
    "nothing": undisturbed,
    "each API server killed and started in turn": killed,
    "each follower's etcd paused in turn": lagging,
}


@pytest.mark.parametrize("what", FAULTS if LONG else list(FAULTS)[:1])
def test_fault(served: Stage, what: str) -> None:
    """Every pod is created with its identity, also right after its account, while one API server is away or lags."""
    with served.creating(what) as seen:
        FAULTS[what](served)
    assert seen.pods
    assert (seen.failures, seen.without_client_id) == ([], [])


def leader_killed(stage: Stage, leader: Member) -> None:
    """The leader of etcd is killed, and started again after another was elected."""
    with leader.etcd.away():
        until(lambda: stage.plane.leader() not in {None, leader})
        time.sleep(SECONDS)


def leader_paused(stage: Stage, leader: Member) -> None:
    """The leader of etcd is paused until another was elected."""
    with paused(leader.etcd.process_id):
        until(lambda: stage.plane.leader() not in {None, leader})
        time.sleep(SECONDS)


@pytest.mark.parametrize("fault", [leader_killed, leader_paused] if LONG else [leader_killed])
def test_failover(served: Stage, fault: Callable[[Stage, Member], None]) -> None:
    """While etcd elects a leader no pod is created without identity; at most reads of new accounts fail meanwhile."""
    leader = until(served.plane.leader)
    assert leader
    with served.creating(f"etcd's {fault.__name__.replace('_', ' ')}") as seen:
        fault(served, leader)
    assert seen.pods
    assert seen.without_client_id == []
    assert seen.other_than(ELECTION) == []
    assert seen.span < ELECTION_SECONDS


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
@pytest.mark.skipif(not LONG, reason="a minute and a half, for make api-servers")
def test_changed_account(stage: Stage) -> None:
    """A changed client id counts for a replica whose API server is paused once its watch gives up, and no pod fails."""
    first, *others = stage.plane.members
    with stage.replicas() as running:
        with ExitStack() as stack:
            for member in others:
                stack.enter_context(member.apiserver.away())
            _annotate(stage, first, OTHER_CLIENT_ID)
            for replica in running:
                until(lambda replica=replica: _injected(replica, stage) == OTHER_CLIENT_ID)  # type: ignore[misc]
        # The watches stay where they are when the others are back.
        what = "an API server paused for as long as a watch waits"
        with stage.creating(what) as seen, paused(first.apiserver.process_id):
            _annotate(stage, others[0], CLIENT_ID)
            begun = time.monotonic()
            for replica in running:
                wait_until_true(
                    lambda replica=replica: _injected(replica, stage) == CLIENT_ID,  # type: ignore[misc]
                    "the replica has the new client id",
                    SILENCE_SECONDS + MAX_WAIT_SECONDS,
                )
            print(f"every replica had the changed client id after {time.monotonic() - begun:.1f} s")  # noqa: T201  the table
    assert seen.failures == []


def _annotate(stage: Stage, member: Member, client: str) -> None:
    """Change the client id of the account `app` through one API server."""
    path = f"/api/v1/namespaces/{stage.namespace}/serviceaccounts/app"
    patch = {"metadata": {"annotations": {names.CLIENT_ID: client}}}
    stage.plane.through(member).request("PATCH", path, patch, content_type="application/merge-patch+json")


def _injected(replica: Replica, stage: Stage) -> str:
    return client_id(review(replica, stage.namespace, "app")[1])
