"""What the proxy costs a pod: `python -m bench.proxy` in the repository, on an otherwise idle machine.

Microsoft Entra's emulator issues one token, which is then requested again and again. Memory is the same on every
machine; times are not, so the proxy and a floor (`bench.proxy_floor`) take turns.
"""

import argparse
import http.client
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.load import BenchmarkError, Load, Memory, Sample, drive, memory
from bench.report import machine
from testbed.entra import Entra, Issuer, entra
from testbed.processes import free_ports, running
from testbed.program import ROOT
from testbed.sidecar import PROGRAM, RESOURCE, SUBJECT, TOKEN_PATH, Sidecar, environment, is_ready, register, sidecar

CONNECTIONS: Final = 16
REQUESTS: Final = 10_000
STARTS: Final = 7
SETTLE_SECONDS: Final = 2.0
START_SECONDS: Final = 10.0
POLL_SECONDS: Final = 0.002
# Azure/azure-workload-identity v1.6.0 (Go) on a similar machine, for comparison; and the limits for the proxy.
GO_MIB: Final = (29.0, 34.0)
BAR_MIB: Final = (24.0, 26.0)
BAR_READY_SECONDS: Final = 0.1
BAR_CPU_US: Final = 75.0
BAR_P99_MS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Result:
    """All measurements."""

    floor_rest: Memory
    rest: Memory
    loaded: Memory
    ready: list[float]
    floor: list[Sample]
    proxy: list[Sample]


def main(arguments: Sequence[str]) -> int:
    """Measure and print; missed bars are no failure, since a benchmark is not a test."""
    parser = argparse.ArgumentParser(prog="python -m bench.proxy", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=2, help="length of a round")
    parser.add_argument("--rounds", type=int, default=5, help="of which the medians are taken")
    options = parser.parse_args(arguments)
    try:
        result = measure(options.rounds, options.seconds)
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return 1
    print("\n".join(_report(result, options.rounds, options.seconds)))
    return 0


def measure(rounds: int, seconds: int) -> Result:
    """Measure everything, in a new process each time.

    Raises:
        BenchmarkError: when not every request was answered with a token.
    """
    with tempfile.TemporaryDirectory() as temporary, entra(directory := Path(temporary)) as emulator:
        issuer = Issuer()
        register(emulator, issuer)
        token_file = directory / "token"
        token_file.write_text(issuer.token(SUBJECT))
        ready = [_start(directory, emulator, token_file) for _ in range(STARTS)]
        with _floor(directory, "idle") as pid:
            floor_rest = memory(pid)
        (port,) = free_ports(1)
        with _floor(directory, "serve", str(port)) as floor_pid, sidecar(directory, emulator, issuer) as proxy:
            time.sleep(SETTLE_SECONDS)
            rest = memory(proxy.process.pid)
            if (reply := proxy.token()).status != http.client.OK:
                raise BenchmarkError(f"no token: {reply.body!r}")
            floor, own = [], []
            for _ in range(rounds):
                floor.append(drive(floor_pid, _tokens(port), seconds))
                own.append(drive(proxy.process.pid, _tokens(proxy.port), seconds))
            if (count := sum(sample.requests for sample in own)) < REQUESTS:
                raise BenchmarkError(f"only {count} requests: take more --rounds or --seconds")
            return Result(floor_rest, rest, memory(proxy.process.pid), ready, floor, own)


def _tokens(port: int) -> Load:
    url = f"http://127.0.0.1:{port}{TOKEN_PATH}?api-version=2018-02-01&resource={RESOURCE}"
    return Load(url, CONNECTIONS, ("-H", "Metadata: true"))


def _start(directory: Path, emulator: Entra, token_file: Path) -> float:
    """Seconds from the start of the process until it is ready."""
    (port,) = free_ports(1)
    log = directory / "start.log"
    env = environment(emulator, token_file)
    began = time.monotonic()
    with running([*PROGRAM, f"--proxy-port={port}", "--log-level=info"], log, cwd=ROOT, env=env) as process:
        starting = Sidecar(process, port, token_file, log)
        while not is_ready(starting):
            if time.monotonic() - began > START_SECONDS:
                raise BenchmarkError(f"the proxy does not start: {log.read_text()}")
            time.sleep(POLL_SECONDS)
        return time.monotonic() - began


@contextmanager
def _floor(directory: Path, *arguments: str) -> Iterator[int]:
    """Run the floor; its process id."""
    command = [sys.executable, "-c", f"from bench.proxy_floor import main; main({arguments!r})"]
    with running(command, directory / "floor.log", cwd=ROOT, env={"PATH": os.environ["PATH"]}) as process:
        time.sleep(SETTLE_SECONDS)
        yield process.pid


def _report(result: Result, rounds: int, seconds: int) -> Iterator[str]:
    cpu, floor = (median(sample.cpu_us for sample in samples) for samples in (result.proxy, result.floor))
    p50, p99 = (median(getattr(sample, name) for sample in result.proxy) for name in ("p50_ms", "p99_ms"))
    floor_p99 = median(sample.p99_ms for sample in result.floor)
    requests = sum(sample.requests for sample in result.proxy)
    ready = median(result.ready)
    yield "; ".join(f"{key} {value}" for key, value in machine().items())
    yield ""
    for name, held, go, bar in zip(
        ("at rest", f"after {requests:,} token requests"), (result.rest, result.loaded), GO_MIB, BAR_MIB, strict=True
    ):
        own = f"RSS {held.rss:.1f} MiB, of it RssAnon {held.anonymous:.1f}"
        yield f"{name}: {own}; {_judged(held.rss, bar, 'MiB')}; Go's {go:g}, given"
    yield (
        f"floor, asyncio and TLS loaded: RSS {result.floor_rest.rss:.1f} MiB, of it RssAnon "
        f"{result.floor_rest.anonymous:.1f}; the proxy at rest is {result.rest.rss / result.floor_rest.rss:.2f} of it"
    )
    yield f"start to ready: {ready:.3f} s, median of {STARTS}; {_judged(ready, BAR_READY_SECONDS, 's')}"
    yield (
        f"cached token, {CONNECTIONS} connections, medians of {rounds} rounds of {seconds} s: {cpu:.0f} CPU µs "
        f"({cpu / floor:.2f} of the floor's {floor:.0f}; {_judged(cpu, BAR_CPU_US, 'µs')}), p50 {p50:.2f} ms, "
        f"p99 {p99:.2f} ms (the floor's {floor_p99:.2f}); {_judged(p99, BAR_P99_MS, 'ms')}"
    )
    others = median(sample.others for sample in (*result.floor, *result.proxy))
    yield f"Meanwhile everything else on the machine took {others:.2f} cores; above 0.1, run it again."


def _judged(value: float, bar: float, unit: str) -> str:
    return f"bar {bar:g} {unit}: {'met' if value <= bar else 'MISSED'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
