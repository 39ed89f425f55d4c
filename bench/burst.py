"""What a burst costs: `python -m bench.burst`: opted-in pods by dry run, 200 at a time, through a real API server.

The API server keeps at most 25 idle connections to a webhook over HTTP/1.1, so at a concurrency of 200 most calls
begin with a handshake.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from azure_workload_identity import names
from bench import apiserver
from bench.load import BenchmarkError, Load, drive
from bench.report import machine
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import CLIENT_ID, pod
from testbed.cluster.server import Server, install_account, register, scope, serving

LEAST_PODS: Final = 3_000
SECONDS: Final = 10
CONCURRENCY: Final = 200
ROUNDS: Final = 3
# Azure/azure-workload-identity v1.6.0 (Go, HTTP/2) and a bare FastAPI prototype on a like machine; and our bars.
GO: Final = (1080, 8.1)
PROTOTYPE: Final = (505, 5.7)
BARS: Final = (650, 7.0)
_DURATION: Final = re.compile(
    r'^apiserver_admission_webhook_admission_duration_seconds_(sum|count)\{name="mutation[^}]*\} (\S+)$', re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Round:
    """CPU µs of the server and ms of a webhook call, both for one admission; pods a second."""

    cpu_us: float
    call_ms: float
    pods: int
    others: float


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.burst", description="What a burst of pods costs.")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--concurrency", type=int, default=CONCURRENCY)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args(arguments)
    try:
        rounds = measured(options.rounds, options.concurrency, options.seconds)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    cpu, call = median(each.cpu_us for each in rounds), median(each.call_ms for each in rounds)
    pods = median(each.pods for each in rounds)
    print("; ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{pods:.0f} pods by dry run, {options.concurrency} at a time; medians of {len(rounds)} rounds, none failed")
    print(f"CPU of the server an admission: {cpu:.0f} µs (bar {BARS[0]}; v1.6.0 {GO[0]}, bare FastAPI {PROTOTYPE[0]})")
    print(f"mean webhook call, by the API server: {call:.1f} ms (bar {BARS[1]}; v1.6.0 {GO[1]}, bare {PROTOTYPE[1]})")
    print(
        f"pods a second: {pods / options.seconds:.0f}; API server, etcd and the rest took "
        f"{median(each.others for each in rounds):.2f} cores"
    )
    return 0


def measured(rounds: int, concurrency: int, seconds: int) -> list[Round]:
    """The rounds, after one that warms up.

    Raises:
        BenchmarkError: when a program is missing, or a pod was not created.
    """
    with apiserver.running() as (plane, directory):
        kubeconfig = install_account(plane)
        with serving(kubeconfig, directory, "--webhook-configurations=") as server:
            register(plane, server, "burst")
            namespace = plane.create_namespace(scope("burst"))
            plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
            body = pod("app", serviceAccountName="app")
            load = apiserver.creations(plane, apiserver.creator(plane), namespace, body, concurrency)
            return [_round(plane, server, load, seconds) for _ in range(rounds + 1)][1:]


def _round(plane: ControlPlane, server: Server, load: Load, seconds: int) -> Round:
    total, count = calls(plane)
    sample = drive(server.process_id, load, seconds)
    new_total, new_count = calls(plane)
    return Round(sample.cpu_us, (new_total - total) / (new_count - count) * 1e3, sample.requests, sample.others)


def calls(plane: ControlPlane) -> tuple[float, float]:
    """The seconds of all webhook calls so far, by the API server, and how many there were."""
    text = plane.http.request("GET", plane.url + "/metrics").data.decode()
    found = _DURATION.findall(text)  # a line for each outcome
    sums = {kind: sum(float(value) for each, value in found if each == kind) for kind in ("sum", "count")}
    return sums["sum"], sums["count"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
