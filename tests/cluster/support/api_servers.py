"""Several API servers behind a load balancer, and how many calls of webhooks failed there."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import urllib3

from testbed.cluster.control_plane import Programs, admin_client, is_ready, write_admin_kubeconfig, write_certificates
from testbed.cluster.replicated import Member, ReplicatedControlPlane, members
from testbed.processes import free_ports, until
from tests.cluster.support.service import Endpoint, service

MEMBERS: Final = 3
PROBE_SECONDS: Final = 1.0
# A load balancer notices late: a managed one by default after two probes, 5 s apart, and kube-proxy after 15 s.
REMOVED_SECONDS: Final = 10.0


@contextmanager
def balanced(programs: Programs, directory: Path, count: int = MEMBERS) -> Iterator[ReplicatedControlPlane]:
    """Run API servers with an etcd each, and a TCP load balancer before them."""
    write_certificates(directory)
    (port,) = free_ports(1)
    url = f"https://127.0.0.1:{port}"
    kubeconfig = write_admin_kubeconfig(directory, url)
    with (
        members(programs, directory, count) as running,
        admin_client(directory) as http,
        service("127.0.0.1", port, _Probe(http)) as balancer,
    ):
        for member in running:
            api_port = int(member.url.rpartition(":")[2])
            balancer.add(Endpoint(api_port, api_port))
        until(lambda: len(balancer.ready) == count)
        first = running[0]
        yield ReplicatedControlPlane(
            url,
            directory,
            directory / "ca.crt",
            kubeconfig,
            programs,
            http,
            etcd_url=first.etcd_url,
            apiserver=first.apiserver,
            members=running,
        )


class _Probe:
    """Takes an API server out when it has not been ready for REMOVED_SECONDS, and in when it is ready again."""

    def __init__(self, http: urllib3.PoolManager) -> None:
        self._http = http
        self._seen = dict[int, float]()

    def __call__(self, endpoint: Endpoint) -> bool:
        if is_ready(self._http, f"https://127.0.0.1:{endpoint.port}", PROBE_SECONDS):
            self._seen[endpoint.port] = time.monotonic()
        return time.monotonic() - self._seen.get(endpoint.port, -REMOVED_SECONDS) < REMOVED_SECONDS


def failed_calls(plane: ReplicatedControlPlane) -> int:
    """How many calls of webhooks failed, as the API servers that answer now count them since their start."""
    return sum(_failed_calls(plane, member) for member in plane.members)


def _failed_calls(plane: ReplicatedControlPlane, member: Member) -> int:
    text = plane.http.request("GET", f"{member.url}/metrics").data.decode()
    samples = re.findall(
        r'^apiserver_admission_webhook_rejection_count\{[^}]*error_type="calling_webhook_error"[^}]*\} (\S+)$',
        text,
        re.MULTILINE,
    )
    return int(sum(map(float, samples)))
