"""Load on one server: wrk repeats one request, and the CPU time and memory of the server's process are read."""

import json
import os
import resource
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity import names

SCRIPT: Final = Path(__file__).with_name("post.lua")
TICKS: Final = os.sysconf("SC_CLK_TCK")
# How long wrk may take to connect and to end, over and above the seconds it is given.
GRACE_SECONDS: Final = 20


class BenchmarkError(Exception):
    """The benchmark itself failed; the message says what to do or what came back."""


class NoAnswerError(BenchmarkError):
    """No request was answered in the time of the measurement."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of wrk: how many requests, the server's CPU time for one, and how long clients waited.

    `others` is how many cores everything else on the machine took: with much of it, no time here means a thing.
    """

    requests: int
    cpu_us: float
    p50_ms: float
    p99_ms: float
    others: float


@dataclass(frozen=True, slots=True)
class Memory:
    """A process's resident memory in MiB: all of it, and what no file backs."""

    rss: float
    anonymous: float


@dataclass(frozen=True, slots=True)
class Load:
    """What wrk sends: to a URL, over so many connections, with options of its own and arguments for the script."""

    url: str
    connections: int = 1
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


def admissions(port: int, review: Path) -> Load:
    """Post a review over one TLS connection."""
    return Load(f"https://127.0.0.1:{port}{names.MUTATE_PATH}", arguments=(str(review),))


def drive(pid: int, load: Load, seconds: int) -> Sample:
    """Load a server for some seconds.

    Raises:
        BenchmarkError: when an answer was not 2xx, or a socket failed.
    """
    before, started = _Clock.read(pid), time.monotonic()
    counted = _wrk(load, seconds)
    spent, elapsed = _Clock.read(pid) - before, time.monotonic() - started
    return Sample(
        requests=counted["requests"],
        cpu_us=spent.server / counted["requests"] * 1e6,
        p50_ms=counted["p50_us"] / 1000,
        p99_ms=counted["p99_us"] / 1000,
        others=max(0.0, spent.machine - spent.server - spent.wrk) / elapsed,
    )


def cpu_seconds(pid: int) -> float:
    """User and system time that all threads of a process took so far."""
    # Fields 14 and 15, counted after the program's name.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> Memory:
    """What a process holds now."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kib = {key: int(value.split()[0]) for key, _, value in (line.partition(":") for line in lines) if "kB" in value}
    return Memory(rss=kib["VmRSS"] / 1024, anonymous=kib["RssAnon"] / 1024)


def _wrk(load: Load, seconds: int) -> dict[str, int]:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise BenchmarkError("no wrk on PATH: apt-get install wrk")
    options = ["-t1", f"-c{load.connections}", f"-d{seconds}s", "--latency", "-s", str(SCRIPT), *load.options]
    done = subprocess.run(
        [wrk, *options, load.url, "--", *load.arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds + GRACE_SECONDS,
    )
    try:
        counted: dict[str, int] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchmarkError(f"wrk ended with {done.returncode}:\n{done.stdout}{done.stderr}") from None
    if not counted["errors"] and not counted["requests"]:
        raise NoAnswerError(f"no request was answered within {seconds} s")
    if counted["errors"]:
        raise BenchmarkError(f"not every request was answered with 2xx:\n{done.stdout}")
    return counted


@dataclass(frozen=True, slots=True)
class _Clock:
    """CPU seconds so far."""

    server: float
    wrk: float
    machine: float

    @classmethod
    def read(cls, pid: int) -> "_Clock":
        """User and system time: of all threads of a process, of the runs of wrk that have ended, of everything."""
        # user nice system idle iowait irq softirq steal
        machine = Path("/proc/stat").read_text().partition("\n")[0].split()
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        return cls(
            server=cpu_seconds(pid),
            wrk=ended.ru_utime + ended.ru_stime,
            machine=sum(map(int, (*machine[1:4], *machine[6:9]))) / TICKS,
        )

    def __sub__(self, earlier: "_Clock") -> "_Clock":
        return _Clock(self.server - earlier.server, self.wrk - earlier.wrk, self.machine - earlier.machine)
