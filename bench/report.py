"""Results as a table: medians, ratios, and whether each stays below its bar."""

import os
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from bench.load import Memory, Sample


@dataclass(frozen=True, slots=True)
class Bar:
    """What Azure/azure-workload-identity v1.6.0 (Go) took on a like machine, and the most that we may take.

    `of_go` and `of_floor` are CPU times as multiples of v1.6.0's and of the floor's.
    """

    go_cpu_us: int
    go_p99_ms: float
    of_go: float
    of_floor: float


BARS: Final = {
    "small": Bar(301, 1.4, 0.75, 2.2),
    "medium": Bar(1454, 2.9, 0.25, 1.8),
    "large": Bar(10170, 12.5, 0.15, 1.35),
    "proxy": Bar(1666, 3.2, 0.25, 2.2),
}
RSS_BAR_MIB: Final = 64
HEAD: Final = (
    *("review", "bytes", "CPU µs", "floor's", "Go's", "x Go's", "x floor's"),
    *("p50 ms", "p99 ms", "Go's p99", "RSS MiB", "RssAnon"),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """One round: the floor, then the webhook."""

    floor: Sample
    webhook: Sample


@dataclass(frozen=True, slots=True)
class Result:
    """All rounds with one review, and the webhook's memory after them."""

    review: str
    bytes: int
    turns: list[Turn]
    memory: Memory

    def median(self, of: Callable[[Turn], float]) -> float:
        """The median of something over the rounds."""
        return median(map(of, self.turns))


def machine() -> dict[str, str]:
    """Where it was measured."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    return {
        "CPU": f"{model}, {os.cpu_count()} cores",
        "Python": platform.python_version(),
        "kernel": platform.release(),
    }


def text(where: dict[str, str], results: Sequence[Result], rounds: int, seconds: int, *, markdown: bool = False) -> str:
    """The whole report."""
    return "\n".join(
        [
            "; ".join(f"{key} {value}" for key, value in where.items()),
            f"One TLS 1.3 connection; medians of {rounds} rounds of {seconds} s, floor and webhook in turns.",
            "",
            *(_markdown if markdown else _aligned)([HEAD, *map(_row, results)]),
            "",
            "CPU: user and system time of the server's process for one admission. floor's: TLS, HTTP and JSON alone.",
            "Go's: v1.6.0 on a like machine, given, not measured here.",
            f"Meanwhile everything else on the machine took {_others(results):.2f} cores; above 0.1, run it again.",
        ]
    )


def _row(result: Result) -> tuple[str, ...]:
    bar = BARS[result.review]
    cpu = result.median(lambda turn: turn.webhook.cpu_us)
    return (
        result.review,
        str(result.bytes),
        f"{cpu:.0f}",
        f"{result.median(lambda turn: turn.floor.cpu_us):.0f}",
        str(bar.go_cpu_us),
        _judged(cpu / bar.go_cpu_us, bar.of_go, ".2f"),
        _judged(result.median(lambda turn: turn.webhook.cpu_us / turn.floor.cpu_us), bar.of_floor, ".2f"),
        f"{result.median(lambda turn: turn.webhook.p50_ms):.2f}",
        f"{result.median(lambda turn: turn.webhook.p99_ms):.2f}",
        str(bar.go_p99_ms),
        _judged(result.memory.rss, RSS_BAR_MIB, ".1f"),
        f"{result.memory.anonymous:.1f}",
    )


def _others(results: Sequence[Result]) -> float:
    return median(sample.others for result in results for turn in result.turns for sample in (turn.floor, turn.webhook))


def _judged(value: float, bar: float, form: str) -> str:
    return f"{value:{form}} (bar {bar:g}: {'met' if value <= bar else 'MISSED'})"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *numbers in rows:
        cells = (number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join([name.ljust(widths[0]), *cells])


def _markdown(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    head, *body = (f"| {' | '.join(row)} |" for row in rows)
    return [head, f"|---|{'---:|' * (len(rows[0]) - 1)}", *body]
