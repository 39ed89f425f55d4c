"""What a burst costs: `python -m bench.burst`: 3,000 opted-in pods by dry run through a real API server.

The API server keeps at most 25 idle connections to a webhook over HTTP/1.1, so at a concurrency of 200 most calls
begin with a handshake.
"""

import argparse
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import aiohttp

from bench import apiserver
from bench.load import TICKS, BenchmarkError
from bench.report import machine
from tests.cluster.control_plane import ControlPlane
from tests.cluster.manifests import CLIENT_ID, pod
from tests.cluster.server import Server, install_account, register, scope, serving
from webhook import names

PODS: Final = 3_000
CONCURRENCY: Final = 200
ROUNDS: Final = 5
# Azure/azure-workload-identity v1.6.0 (Go, HTTP/2) and a bare FastAPI prototype on a like machine; and our bars.
GO: Final = (1080, 8.1)
PROTOTYPE: Final = (505, 5.7)
BARS: Final = (650, 7.0)
_DURATION: Final = re.compile(
    r'^apiserver_admission_webhook_admission_duration_seconds_(sum|count)\{name="mutation[^}]*\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Round:
    """CPU µs of the server and ms of a webhook call, both for one admission; pods a second; handshakes."""

    cpu_us: float
    call_ms: float
    pods_a_second: float
    failed: int


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.burst", description="What a burst of pods costs.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args(arguments)
    try:
        rounds = measured(options.rounds)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    cpu, call = median(each.cpu_us for each in rounds), median(each.call_ms for each in rounds)
    print("; ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{PODS:,} pods by dry run, {CONCURRENCY} at a time; medians of {len(rounds)} rounds after one to warm up")
    print(f"CPU of the server an admission: {cpu:.0f} µs (bar {BARS[0]}; v1.6.0 {GO[0]}, bare FastAPI {PROTOTYPE[0]})")
    print(f"mean webhook call, by the API server: {call:.1f} ms (bar {BARS[1]}; v1.6.0 {GO[1]}, bare {PROTOTYPE[1]})")
    print(f"pods a second: {median(each.pods_a_second for each in rounds):.0f}")
    print(f"failed: {sum(each.failed for each in rounds)}")
    return 0


def measured(rounds: int) -> list[Round]:
    """The rounds, after one that warms up.

    Raises:
        BenchmarkError: when a program is missing.
    """
    with apiserver.running() as (plane, directory):
        kubeconfig = install_account(plane)
        with serving(kubeconfig, directory, "--webhook-configurations=") as server:
            register(plane, server, "burst")
            namespace = plane.create_namespace(scope("burst"))
            plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
            return [_round(plane, server, namespace) for _ in range(rounds + 1)][1:]


def _round(plane: ControlPlane, server: Server, namespace: str) -> Round:
    failed = 0

    async def create(session: aiohttp.ClientSession, number: int) -> None:
        nonlocal failed
        path = f"/api/v1/namespaces/{namespace}/pods?dryRun=All"
        async with session.post(path, json=pod(f"app-{number}", serviceAccountName="app")) as answer:
            failed += names.ENV_CLIENT_ID not in await answer.text()

    (total, count), cpu, begun = _calls(plane), _cpu_seconds(server.process_id), time.monotonic()
    apiserver.at_once(plane, range(PODS), create, CONCURRENCY)
    took, cpu = time.monotonic() - begun, _cpu_seconds(server.process_id) - cpu
    new_total, new_count = _calls(plane)
    return Round(cpu / PODS * 1e6, (new_total - total) / (new_count - count) * 1e3, PODS / took, failed)


def _calls(plane: ControlPlane) -> tuple[float, float]:
    text = plane.http.request("GET", plane.url + "/metrics").data.decode()
    found = {kind: float(value) for kind, value in _DURATION.findall(text)}
    return found.get("sum", 0.0), found.get("count", 0.0)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
