"""Another webhook and this one on one API server, in turns: `A_BINARY=PROGRAM python -m bench.versus`.

The program takes v1.6.0's flags and environment and listens on its port. Both read ServiceAccounts from the API server,
and get the same reviews; then pods are created by dry run, through one of them at a time.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import trustme

from azure_workload_identity import names
from bench import apiserver
from bench.burst import calls
from bench.load import BenchmarkError, Load, Sample, drive, memory
from bench.report import BARS, machine
from bench.servers import CLIENT_ID
from bench.webhook import REVIEWS, WARM_UP_SECONDS
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import pod
from testbed.cluster.server import Server, configuration, install_account, scope, serving, settings_of
from testbed.processes import free_ports, running, wait_until
from testbed.program import listens, write_pair

# v1.6.0's, which no flag changes.
PORT: Final = 9443
READY_SECONDS: Final = 60.0
CONNECTIONS: Final = (1, 16)
BURST: Final = 200
NAMESPACE: Final = "shop"
OTHER: Final = "other"
OURS: Final = "ours"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A running webhook: its name here, its URL, whom its clients trust, and its process."""

    name: str
    url: str
    ca_pem: bytes
    process_id: int


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench.versus", description="Another webhook and this one, in turns.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=2, help="of load on each in a round")
    options = parser.parse_args(arguments)
    program = os.environ.get("A_BINARY", "")
    if not os.access(program, os.X_OK):
        print("set A_BINARY to the program to compare with", file=sys.stderr)
        return 1
    print("; ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"Medians of {options.rounds} rounds of {options.seconds} s, {OTHER} and {OURS} in turns.\n")
    try:
        with apiserver.running() as (plane, directory), _both(plane, directory, program) as webhooks:
            _print_memory("at rest", webhooks)
            _print_reviews(webhooks, options.rounds, options.seconds)
            _print_burst(plane, webhooks, options.rounds, options.seconds * 3)
            _print_memory("after load", webhooks)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    return 0


def _print_reviews(webhooks: Sequence[Webhook], rounds: int, seconds: int) -> None:
    print("\n| review | connections | CPU µs: other | ours | ratio | p50 ms: other | ours | p99 ms: other | ours |")
    print("|---|---:|" + "---:|" * 7)
    for connections in CONNECTIONS:
        for name in BARS:
            samples: dict[str, list[Sample]] = {webhook.name: [] for webhook in webhooks}
            for number in range(rounds + 1):
                for webhook in webhooks:
                    path = str(REVIEWS / f"{name}.json")
                    load = Load(webhook.url + names.MUTATE_PATH, connections, arguments=(path,))
                    sample = drive(webhook.process_id, load, seconds if number else WARM_UP_SECONDS)
                    samples[webhook.name] += [sample] if number else []
            other, ours = samples[OTHER], samples[OURS]
            cpu = [median(sample.cpu_us for sample in each) for each in (other, ours)]
            waits = [
                median(getattr(sample, field) for sample in each)
                for field in ("p50_ms", "p99_ms")
                for each in (other, ours)
            ]
            ratio = median(mine.cpu_us / its.cpu_us for its, mine in zip(other, ours, strict=True))
            print(
                f"| {name} | {connections} | {cpu[0]:.0f} | {cpu[1]:.0f} | {ratio:.2f} | "
                + " | ".join(f"{wait:.2f}" for wait in waits)
                + " |",
                flush=True,
            )


def _print_burst(plane: ControlPlane, webhooks: Sequence[Webhook], rounds: int, seconds: int) -> None:
    token, body = apiserver.creator(plane), pod("app", serviceAccountName="app")
    namespaces = {}
    for webhook in webhooks:
        plane.apply(
            configuration(
                webhook.name,
                webhook.url + names.MUTATE_PATH,
                webhook.ca_pem,
                namespaceSelector={"matchLabels": scope(webhook.name)},
            )
        )
        namespaces[webhook.name] = plane.create_namespace(scope(webhook.name))
        plane.create_service_account(namespaces[webhook.name], "app", {names.CLIENT_ID: CLIENT_ID})
    print(f"\n| {BURST} creations at once | CPU µs | call ms | creations/s |\n|---|---:|---:|---:|")
    figures: dict[str, list[tuple[float, float, float]]] = {webhook.name: [] for webhook in webhooks}
    for number in range(rounds + 1):
        for webhook in webhooks:
            load = apiserver.creations(plane, token, namespaces[webhook.name], body, BURST)
            total, count = calls(plane)
            sample = drive(webhook.process_id, load, seconds)
            new_total, new_count = calls(plane)
            figure = sample.cpu_us, (new_total - total) / (new_count - count) * 1e3, sample.requests / seconds
            figures[webhook.name] += [figure] if number else []
    for name, each in figures.items():
        cpu, call, pods = (median(column) for column in zip(*each, strict=True))
        print(f"| {name} | {cpu:.0f} | {call:.1f} | {pods:.0f} |", flush=True)


def _print_memory(when: str, webhooks: Sequence[Webhook]) -> None:
    for webhook in webhooks:
        held = memory(webhook.process_id)
        print(f"{webhook.name} {when}: RSS {held.rss:.1f} MiB, RssAnon {held.anonymous:.1f}", flush=True)


@contextmanager
def _both(plane: ControlPlane, directory: Path, program: str) -> Iterator[list[Webhook]]:
    kubeconfig = install_account(plane)
    plane.create_namespace(name=NAMESPACE)
    plane.create_service_account(NAMESPACE, "checkout", {names.CLIENT_ID: CLIENT_ID})
    with (
        _other(kubeconfig, directory, program) as other,
        serving(kubeconfig, directory, "--webhook-configurations=") as server,
    ):
        yield [other, _ours(server)]


def _ours(server: Server) -> Webhook:
    return Webhook(OURS, server.url, server.ca_pem, server.process_id)


@contextmanager
def _other(kubeconfig: Path, directory: Path, program: str) -> Iterator[Webhook]:
    authority, certificates, log = trustme.CA(), directory / "other", directory / "other.log"
    write_pair(certificates, authority)
    health, metrics = free_ports(2)
    flags = [
        f"--webhook-cert-dir={certificates}",
        "--disable-cert-rotation",
        "--tls-min-version=1.3",
        "--log-level=info",
        f"--health-addr=127.0.0.1:{health}",
        f"--metrics-addr=127.0.0.1:{metrics}",
    ]
    with running([program, *flags], log, cwd=directory, env=settings_of(kubeconfig)) as process:
        wait_until(lambda: listens(PORT), process, log, READY_SECONDS)
        yield Webhook(OTHER, f"https://127.0.0.1:{PORT}", authority.cert_pem.bytes(), process.pid)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
