"""Reads memory and open descriptors of the processes in pods, every few seconds."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import urllib3

from testbed.cluster.control_plane import ApiError

SAMPLE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process as this machine numbers it; `role` is server, supervisor or proxy, `release` whose it is."""

    release: str
    role: str
    pod: str
    number: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A process at a moment: seconds since the start, memory in KiB, open file descriptors."""

    seconds: float
    rss: int
    anonymous: int
    pss: int
    descriptors: int


@dataclass
class Samples:
    """All samples by process, and how often the processes could not be listed."""

    by_process: dict[Process, list[Sample]] = field(default_factory=dict)
    unlisted: int = 0


def sample(number: int, seconds: float) -> Sample:
    """Read one process.

    Raises:
        OSError: It has ended.
    """
    process = Path(f"/proc/{number}")
    status = _kibibytes(process / "status", ("VmRSS", "RssAnon"))
    pss = _kibibytes(process / "smaps_rollup", ("Pss",))["Pss"]
    return Sample(seconds, status["VmRSS"], status["RssAnon"], pss, len(list((process / "fd").iterdir())))


def _kibibytes(file: Path, keys: Iterable[str]) -> dict[str, int]:
    lines = dict(line.partition(":")[::2] for line in file.read_text().splitlines())
    try:
        return {key: int(lines[key].split()[0]) for key in keys}
    except KeyError:
        raise ProcessLookupError(f"{file} has no memory any more") from None


@contextmanager
def sampling(processes: Callable[[], Iterable[Process]], begun: float) -> Iterator[Samples]:
    """Sample what `processes` returns, from entering to leaving; `begun` is the start by the monotonic clock."""
    samples, stop = Samples(), threading.Event()

    def run() -> None:
        while not stop.wait(SAMPLE_SECONDS):
            try:
                found = list(processes())
            # Pods come and go while they are looked at, and so may the API server.
            except (OSError, LookupError, ValueError, RuntimeError, ApiError, urllib3.exceptions.HTTPError):
                samples.unlisted += 1
                continue
            for process in found:
                try:
                    taken = sample(process.number, time.monotonic() - begun)
                except OSError:
                    continue  # it has just ended
                samples.by_process.setdefault(process, []).append(taken)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()
