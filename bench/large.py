"""What a very large cluster costs: `python -m bench.large [COUNT ...]`, so many ServiceAccounts in a real API server.

They are written to etcd directly, before the API server starts: through it, 100,000 would take minutes. There are
10,000 namespaces and 5,000 nodes beside them, and 2,000 pods are created in a minute, each by dry run and with an
account of its own. Every second account has a client id; each is about 600 bytes, as in bench.scale.
"""

import argparse
import asyncio
import base64
import json
import ssl
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

import aiohttp
import urllib3

from azure_workload_identity import names
from azure_workload_identity.cluster.watch import PAGE
from azure_workload_identity.types import JsonObject
from bench import apiserver
from bench.load import BenchmarkError, cpu_seconds, memory
from bench.report import machine
from bench.scale import account, cached
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import pod
from testbed.cluster.server import Server, install_account, register, scope, serving
from webhook.accounts.cluster import SERVICE_ACCOUNTS

COUNTS: Final = (100_000, 500_000)
NAMESPACES: Final = 10_000
NODES: Final = 5_000
PODS: Final = 2_000
POD_SECONDS: Final = 60.0
CHANGES: Final = 2_000
CONCURRENCY: Final = 8
WRITES: Final = 100  # of one transaction; etcd takes at most 128
SYNC_SECONDS: Final = 900.0
SETTLE_SECONDS: Final = 3.0
SCOPE: Final = "large"
MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Result:
    """One cluster; sizes in MiB, times in seconds, costs for one change or pod in CPU µs."""

    accounts: int
    etcd: float
    apiserver: tuple[float, float]
    list_bytes: float
    list_requests: int
    synced: float
    list_cpu: float
    list_apiserver_cpu: float
    webhook: float
    supervisor: float
    change_cpu: float
    pod_cpu: float
    pod_apiserver_cpu: float
    pod_ms: tuple[float, float]
    token_apiserver_cpu: float

    def lines(self) -> Iterator[str]:
        """The result as text."""
        yield f"{self.accounts:,} accounts, {NAMESPACES:,} namespaces, {NODES:,} nodes: etcd {self.etcd:.0f} MiB"
        yield f"  API server: RSS {self.apiserver[0]:.0f} MiB at rest, {self.apiserver[1]:.0f} after the webhook's list"
        yield (
            f"  list: {self.list_bytes:.1f} MiB in {self.list_requests} requests; cache complete {self.synced:.1f} s "
            f"after the start, CPU {self.list_cpu:.1f} s of the webhook and {self.list_apiserver_cpu:.1f} s of the "
            "API server"
        )
        yield f"  webhook: RSS {self.webhook:.1f} MiB, its supervisor {self.supervisor:.1f}"
        yield f"  a changed account: {self.change_cpu:.0f} µs of the webhook's CPU"
        yield (
            f"  one of {PODS:,} pods in {POD_SECONDS:.0f} s: {self.pod_cpu:.0f} µs of the webhook's CPU, "
            f"{self.pod_apiserver_cpu:.0f} of the API server's; p50 {self.pod_ms[0]:.0f} ms, "
            f"p99 {self.pod_ms[1]:.0f} ms"
        )
        yield f"  a token, as the kubelet asks for it: {self.token_apiserver_cpu:.0f} µs of the API server's CPU"


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.large", description="What a very large cluster costs.")
    parser.add_argument("counts", nargs="*", type=int, metavar="COUNT", default=COUNTS)
    print("; ".join(f"{key} {value}" for key, value in machine().items()))
    try:
        for count in parser.parse_args(arguments).counts:
            print("\n".join(measured(count).lines()), flush=True)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    return 0


def measured(count: int) -> Result:
    """Fill a cluster with so many accounts and measure.

    Raises:
        BenchmarkError: when a program is missing, or the cache does not become complete.
    """
    with apiserver.running() as (plane, directory):
        kubeconfig = install_account(plane)
        with plane.apiserver.away():
            _fill(plane, count)
        print(f"{count:,} accounts are written", file=sys.stderr)
        at_rest = _apiserver_memory(plane)
        list_bytes, requests = _list(plane)
        before = cpu_seconds(plane.apiserver.process_id)
        begun = time.monotonic()
        with serving(kubeconfig, directory, "--webhook-configurations=", wait_for="healthz") as server:
            while cached(server) < count // 2:
                if time.monotonic() - begun > SYNC_SECONDS:
                    raise BenchmarkError(f"the cache has {cached(server)} accounts after {SYNC_SECONDS:.0f} s")
                time.sleep(0.1)
            synced = time.monotonic() - begun
            list_cpu = cpu_seconds(server.process_id)
            list_apiserver_cpu = cpu_seconds(plane.apiserver.process_id) - before
            time.sleep(SETTLE_SECONDS)
            after_list = _apiserver_memory(plane)
            register(plane, server, SCOPE)
            change_cpu = _changes(plane, server)
            pod_cpu, pod_apiserver_cpu, pod_ms = _pods(plane, server, count)
            return Result(
                accounts=count,
                etcd=_etcd_size(plane),
                apiserver=(at_rest, after_list),
                list_bytes=list_bytes / MIB,
                list_requests=requests,
                synced=synced,
                list_cpu=list_cpu,
                list_apiserver_cpu=list_apiserver_cpu,
                webhook=memory(server.process_id).rss,
                supervisor=memory(server.program_id).rss,
                change_cpu=change_cpu,
                pod_cpu=pod_cpu,
                pod_apiserver_cpu=pod_apiserver_cpu,
                pod_ms=pod_ms,
                token_apiserver_cpu=_tokens(plane),
            )


def _objects(count: int) -> Iterator[tuple[str, JsonObject]]:
    """Keys below /registry and objects, as the API server stores them, but as JSON."""
    for number in range(NAMESPACES):
        labels = {"kubernetes.io/metadata.name": _namespace(number), **scope(SCOPE)}
        metadata = {"name": _namespace(number), "labels": labels}
        yield (
            f"namespaces/{_namespace(number)}",
            _stored("Namespace", "v1", metadata, spec={"finalizers": ["kubernetes"]}, status={"phase": "Active"}),
        )
    for number in range(NODES):
        name = f"node-{number:05}"
        yield f"minions/{name}", _stored("Node", "v1", {"name": name}, spec={}, status={"phase": "Running"})
    for number in range(count):
        namespace = _namespace(number)
        metadata = {**account(number)["metadata"], "namespace": namespace}
        yield f"serviceaccounts/{namespace}/{metadata['name']}", _stored("ServiceAccount", "v1", metadata)


def _namespace(number: int) -> str:
    return f"large-{number % NAMESPACES:05}"


def _stored(kind: str, version: str, metadata: JsonObject, **fields: JsonObject) -> JsonObject:
    uid = base64.b16encode(f"{kind[:4]}{metadata['name'][-8:]:>12}".encode()).decode().lower()
    uid = f"{uid[:8]}-{uid[8:12]}-{uid[12:16]}-{uid[16:20]}-{uid[20:32]}"
    written = {**metadata, "uid": uid, "creationTimestamp": "2026-03-01T00:00:00Z"}
    return {"kind": kind, "apiVersion": version, "metadata": written, **fields}


def _fill(plane: ControlPlane, count: int) -> None:
    """Write everything to etcd by its JSON gateway."""

    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    with urllib3.PoolManager(retries=False) as http:
        pending: list[JsonObject] = []

        def flush() -> None:
            answer = http.request("POST", f"{plane.etcd_url}/v3/kv/txn", body=json.dumps({"success": pending}))
            if answer.status != 200:  # noqa: PLR2004  OK
                raise BenchmarkError(f"etcd did not take the accounts: {answer.data.decode()}")
            pending.clear()

        for key, item in _objects(count):
            put = {"key": encoded(f"/registry/{key}"), "value": encoded(json.dumps(item, separators=(",", ":")))}
            pending.append({"requestPut": put})
            if len(pending) == WRITES:
                flush()
        if pending:
            flush()


def _apiserver_memory(plane: ControlPlane) -> float:
    return memory(plane.apiserver.process_id).rss


def _etcd_size(plane: ControlPlane) -> float:
    with urllib3.PoolManager() as http:
        answer = http.request("POST", f"{plane.etcd_url}/v3/maintenance/status", body="{}")
    return int(json.loads(answer.data)["dbSizeInUse"]) / MIB


def _list(plane: ControlPlane) -> tuple[int, int]:
    """Bytes and requests of the list that the webhook makes."""
    size = requests = 0
    token = ""
    while True:
        url = plane.url + SERVICE_ACCOUNTS.url(limit=PAGE, **{"continue": token})
        answer = plane.http.request(
            "GET", url, headers={"Accept": SERVICE_ACCOUNTS.accept("PartialObjectMetadataList")}
        )
        size, requests = size + len(answer.data), requests + 1
        token = json.loads(answer.data)["metadata"].get("continue", "")
        if not token:
            return size, requests


def _changes(plane: ControlPlane, server: Server) -> float:
    """Change accounts; return the webhook's CPU µs for one event of its watch."""

    async def change(session: aiohttp.ClientSession, number: int) -> None:
        path = f"/api/v1/namespaces/{_namespace(number)}/serviceaccounts/account-{number:06}"
        body = {"metadata": {"labels": {"example.com/changed": str(number)}}}
        async with session.patch(
            path, data=json.dumps(body), headers={"Content-Type": "application/merge-patch+json"}
        ) as answer:
            if answer.status != 200:  # noqa: PLR2004  OK
                raise BenchmarkError(f"an account was not changed: {answer.status} {await answer.text()}")

    before = cpu_seconds(server.process_id)
    apiserver.at_once(plane, range(1, 2 * CHANGES, 2), change, CONCURRENCY)
    time.sleep(1)
    return (cpu_seconds(server.process_id) - before) / CHANGES * 1e6


def _tokens(plane: ControlPlane) -> float:
    """Request tokens of accounts; return the API server's CPU µs for one."""

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        path = f"/api/v1/namespaces/{_namespace(number)}/serviceaccounts/account-{number:06}/token"
        spec = {"audiences": [names.DEFAULT_AUDIENCE], "expirationSeconds": 3600}
        async with session.post(path, json={"spec": spec}) as answer:
            if answer.status != 201:  # noqa: PLR2004  created
                raise BenchmarkError(f"no token: {answer.status} {await answer.text()}")

    before = cpu_seconds(plane.apiserver.process_id)
    apiserver.at_once(plane, range(CHANGES), ask, CONCURRENCY)
    return (cpu_seconds(plane.apiserver.process_id) - before) / CHANGES * 1e6


def _pods(plane: ControlPlane, server: Server, count: int) -> tuple[float, float, tuple[float, float]]:
    """Create PODS pods in POD_SECONDS, spread over all accounts; return CPU µs of both and p50, p99 in ms."""
    taken: list[float] = []

    async def create(session: aiohttp.ClientSession, number: int, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        owner = (number * (count // PODS) // 2) * 2 + 1  # one with a client id
        path = f"/api/v1/namespaces/{_namespace(owner)}/pods?dryRun=All"
        begun = time.monotonic()
        body = pod("app", serviceAccountName=f"account-{owner:06}")
        async with session.post(path, json=body) as answer:
            stored = await answer.json()
        taken.append(time.monotonic() - begun)
        if answer.status != 201 or not _has_client_id(stored):  # noqa: PLR2004  created
            raise BenchmarkError(f"a pod was not created as it should be: {stored}")

    async def run() -> None:
        context = ssl.create_default_context(cafile=str(plane.ca_file))
        context.load_cert_chain(plane.directory / "admin.crt", plane.directory / "admin.key")
        connector = aiohttp.TCPConnector(limit=64, ssl=context)
        async with aiohttp.ClientSession(plane.url, connector=connector) as session:
            begun = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number in range(PODS):
                    group.create_task(create(session, number, begun + number * POD_SECONDS / PODS))

    processes = (server.process_id, plane.apiserver.process_id)
    before = [cpu_seconds(number) for number in processes]
    asyncio.run(run())
    webhook, api = ((cpu_seconds(number) - start) / PODS * 1e6 for number, start in zip(processes, before, strict=True))
    cut = quantiles(taken, n=100)
    return webhook, api, (cut[49] * 1e3, cut[98] * 1e3)


def _has_client_id(stored: JsonObject) -> bool:
    variables = stored["spec"]["containers"][0].get("env", [])
    return any(variable["name"] == names.ENV_CLIENT_ID for variable in variables)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
