"""A control plane of several members: an etcd and a kube-apiserver that uses no other, as kubeadm stacks them."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import urllib3

from testbed.cluster.control_plane import (
    Cluster,
    ControlPlane,
    Programs,
    Restartable,
    admin_client,
    is_ready,
    kube_apiserver,
)
from testbed.processes import free_ports


@dataclass(frozen=True)
class Member:
    """An etcd, and the API server that stores in it."""

    url: str
    etcd_url: str
    apiserver: Restartable
    etcd: Restartable

    def leads(self, http: urllib3.PoolManager) -> bool:
        """Whether this etcd is the leader."""
        try:
            answer = http.request("POST", f"{self.etcd_url}/v3/maintenance/status", body="{}", timeout=1.0)
        except urllib3.exceptions.HTTPError:
            return False
        status = json.loads(answer.data)
        return bool(answer.status == 200 and status.get("leader") == status["header"]["member_id"])


@dataclass(frozen=True)
class ReplicatedControlPlane(ControlPlane):
    """Its `url` is that of a load balancer, `etcd_url` and `apiserver` those of the first member."""

    members: tuple[Member, ...]

    def through(self, member: Member) -> Cluster:
        """The cluster, seen through the API server of one member."""
        return Cluster(member.url, self.directory, self.ca_file, self.kubeconfig, self.programs, self.http)

    def leader(self) -> Member | None:
        """The member whose etcd leads; None during an election."""
        return next((member for member in self.members if member.leads(self.http)), None)


@contextmanager
def members(programs: Programs, directory: Path, count: int) -> Iterator[tuple[Member, ...]]:
    """Run so many members, with the files of `write_certificates` in a directory."""
    ports = [free_ports(3) for _ in range(count)]
    cluster = ",".join(f"member{number}=http://127.0.0.1:{peer}" for number, (_, _, peer) in enumerate(ports))
    with ExitStack() as stack, admin_client(directory) as http:
        made = []
        for number, (api, client, peer) in enumerate(ports):
            command = _etcd(programs, directory, f"member{number}", client, peer)
            url, etcd_url = f"https://127.0.0.1:{api}", f"http://127.0.0.1:{client}"
            etcd = Restartable(
                [*command, f"--initial-cluster={cluster}"],
                directory / f"etcd-{number}.log",
                lambda etcd_url=etcd_url: _is_healthy(http, etcd_url),  # type: ignore[misc]
            )
            apiserver = Restartable(
                kube_apiserver(programs, directory, api, client),
                directory / f"kube-apiserver-{number}.log",
                lambda url=url: is_ready(http, url),  # type: ignore[misc]
            )
            made.append(Member(url, etcd_url, apiserver, etcd))
        _start(stack, [member.etcd for member in made])  # none is healthy before most of them run
        _start(stack, [member.apiserver for member in made])
        yield tuple(made)


def _start(stack: ExitStack, programs: Sequence[Restartable]) -> None:
    for program in programs:
        program.launch()
        stack.callback(program.stop)
    for program in programs:
        program.wait_until_ready()


def _is_healthy(http: urllib3.PoolManager, etcd_url: str) -> bool:
    try:
        answer = http.request("GET", f"{etcd_url}/health", timeout=1.0)
    except urllib3.exceptions.HTTPError:
        return False
    return answer.status == 200 and json.loads(answer.data).get("health") == "true"


def _etcd(programs: Programs, directory: Path, name: str, client_port: int, peer_port: int) -> list[str]:
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return [
        str(programs.etcd),
        f"--name={name}",
        f"--data-dir={directory / name}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        "--initial-cluster-state=new",
        "--unsafe-no-fsync",  # the data may die with the machine
        "--log-level=error",
    ]
