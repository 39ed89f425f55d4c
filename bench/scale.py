"""What many ServiceAccounts cost: `python -m bench.scale [COUNT ...]`, against a real API server.

Each count gets a new server: how long until its first admission, how long until its cache is complete, and how much
memory it then takes. Half of the accounts have a client id; each is about 600 bytes.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import msgspec

from azure_workload_identity import names
from azure_workload_identity.cluster.watch import MetadataOnly
from azure_workload_identity.types import JsonObject
from bench import apiserver
from bench.load import BenchmarkError, Memory, memory
from bench.report import machine
from testbed.cluster.manifests import CLIENT_ID, pod
from testbed.cluster.server import Server, install_account, serving
from webhook.accounts.cluster import AccountCache

COUNTS: Final = (1_000, 10_000, 50_000)
SIMULATED: Final = 100_000
NAMESPACES: Final = 20
CONCURRENCY: Final = 32
PADDING: Final = "x" * 170
SYNC_SECONDS: Final = 120
SETTLE_SECONDS: Final = 2.0
MIB: Final = 1 << 20
# Azure/azure-workload-identity v1.6.0 (Go) on a like machine: RSS in MiB, first admission in seconds; and our bars.
GO: Final = {1_000: (42, 0.16), 10_000: (77, 0.26), 50_000: (248, 0.88)}
RSS_BARS: Final = {1_000: 85, 10_000: 95, 50_000: 95}
FIRST_BAR: Final = 1.2
GROWTH_BAR: Final = 400


@dataclass(frozen=True, slots=True)
class Result:
    """One server among so many accounts; times in seconds from the start of its process."""

    accounts: int
    first: float
    synced: float
    memory: Memory


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.scale", description="What many ServiceAccounts cost.")
    parser.add_argument("counts", nargs="*", type=int, metavar="COUNT", default=COUNTS)
    counts = sorted(parser.parse_args(arguments).counts)
    try:
        results = measured(counts)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    print("; ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{'accounts':>9} {'first s':>9} {'Go s':>6} {'synced s':>9} {'RSS MiB':>8} {'RssAnon':>8} {'Go MiB':>7}")
    for result in results:
        go_rss, go_first = GO.get(result.accounts, ("", ""))
        print(
            f"{result.accounts:>9,} {result.first:>9.2f} {go_first:>6} {result.synced:>9.2f} "
            f"{result.memory.rss:>8.1f} {result.memory.anonymous:>8.1f} {go_rss:>7}"
            f"  {_judged(result)}"
        )
    if len(results) > 1:
        least, most = results[0], results[-1]
        growth = (most.memory.rss - least.memory.rss) * MIB / ((most.accounts - least.accounts) / 2)
        print(f"growth: {growth:.0f} bytes an annotated account (bar {GROWTH_BAR})")
    print(f"simulated, the cache alone: {simulated(SIMULATED):.1f} MiB for {SIMULATED:,} accounts, half annotated")
    return 0


def _judged(result: Result) -> str:
    rss_bar = RSS_BARS.get(result.accounts)
    if rss_bar is None:
        return ""
    met = result.memory.rss <= rss_bar and result.first <= FIRST_BAR
    return f"(bars {rss_bar} MiB, {FIRST_BAR} s: {'met' if met else 'MISSED'})"


def measured(counts: Sequence[int]) -> list[Result]:
    """A result for each count, of one control plane that grows.

    Raises:
        BenchmarkError: when a program is missing or the cache does not become whole.
    """
    results, there = [], 0
    with apiserver.running() as (plane, directory):
        kubeconfig = install_account(plane)
        for number in range(NAMESPACES):
            plane.create_namespace(name=f"scale-{number}")
        for count in counts:
            print(f"creating {count - there:,} accounts ...", file=sys.stderr)
            apiserver.at_once(plane, range(there, count), _create, CONCURRENCY)
            there = count
            results.append(_measure(kubeconfig, directory, count))
    return results


def account(number: int) -> JsonObject:
    """A ServiceAccount of about 600 bytes; those with an odd number have a client id."""
    annotations = {names.CLIENT_ID: CLIENT_ID} if number % 2 else {}
    return {
        "metadata": {
            "name": f"account-{number:06}",
            "annotations": {"example.com/description": PADDING, **annotations},
            "labels": {"app.kubernetes.io/name": f"app-{number:06}", "app.kubernetes.io/managed-by": "Helm"},
        }
    }


async def _create(session: aiohttp.ClientSession, number: int) -> None:
    path = f"/api/v1/namespaces/scale-{number % NAMESPACES}/serviceaccounts"
    async with session.post(path, json=account(number)) as answer:
        if answer.status != 201:  # noqa: PLR2004  created
            raise BenchmarkError(f"an account was not created: {answer.status} {await answer.text()}")


def _measure(kubeconfig: Path, directory: Path, count: int) -> Result:
    begun = time.monotonic()
    with serving(kubeconfig, directory, "--webhook-configurations=", wait_for="healthz") as server:
        while not _admits(server):
            time.sleep(0.005)
        first = time.monotonic() - begun
        while cached(server) < count // 2:
            if time.monotonic() - begun > SYNC_SECONDS:
                raise BenchmarkError(f"the cache has {cached(server)} accounts after {SYNC_SECONDS} s")
            time.sleep(0.02)
        synced = time.monotonic() - begun
        time.sleep(SETTLE_SECONDS)
        return Result(count, first, synced, memory(server.process_id))


def _admits(server: Server) -> bool:
    request = {
        "uid": "scale",
        "namespace": "scale-1",
        "operation": "CREATE",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "object": pod("app", serviceAccountName="account-000001"),
    }
    try:
        status, answer = server.review(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        )
    except Exception:  # noqa: BLE001  it does not listen yet
        return False
    return status == 200 and "patch" in answer["response"]  # noqa: PLR2004  OK


def cached(server: Server) -> float:
    """How many accounts the server's cache has, by its metrics."""
    lines = server.get(server.metrics_url)[1].splitlines()
    return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith("azwi_accounts_cached "))


def simulated(count: int) -> float:
    """MiB that the cache grows by in a process of its own, without an API server."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.scale", "--simulate", str(count)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def simulate(count: int) -> None:
    """Fill a cache and print by how many MiB the process grew."""
    cache, decoder = AccountCache(), msgspec.json.Decoder(list[MetadataOnly])
    page = 500
    before = _resident()
    cache.list_started()
    for begin in range(0, count, page):
        items = [_stored(number) for number in range(begin, begin + page)]
        for item in decoder.decode(json.dumps(items)):
            cache.apply(item)
    cache.list_finished()
    gc.collect()
    print(_resident() - before)


def _stored(number: int) -> JsonObject:
    stored = account(number)
    stored["metadata"] |= {"namespace": f"scale-{number % NAMESPACES}", "resourceVersion": str(number)}
    return stored


def _resident() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--simulate"]:
        simulate(int(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1:]))
