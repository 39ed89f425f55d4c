"""What a soak showed: failures, slopes, and whether that is good enough; written as JSON, Markdown and a plot."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from statistics import quantiles
from typing import Final

from azure_workload_identity.types import JsonObject
from bench.trend import Trend, trend
from tests.cluster.support.load import IN_FLIGHT
from tests.e2e.soak.creations import Created, Failure
from tests.e2e.soak.disturbances import KILLS, Event
from tests.e2e.soak.sampling import Process, Sample, Samples

STEADY: Final = "steady"
DISTURBED: Final = "disturbed"
HOUR: Final = 3600.0
# Before this part of the run memory and connections still reach their working size: no slope counts it.
WARM_UP: Final = 1 / 6
# A shorter run has slopes, but too little time to judge them.
LEAST_SECONDS: Final = 1800.0
# Flat: with 95 % confidence it grows by less than this an hour.
MEMORY_BAR: Final = 1024.0  # KiB
DESCRIPTOR_BAR: Final = 2.0
# The API server's errors for a call to a process that was killed, and how long after a kill they may still come.
KILLED: Final = re.compile(f"{IN_FLIGHT}|connection refused")
KILLED_SECONDS: Final = 6.0

SERIES: Final[Mapping[str, Callable[[Sample], int]]] = {
    "rss": lambda sample: sample.rss,
    "pss": lambda sample: sample.pss,
    "descriptors": lambda sample: sample.descriptors,
}


@dataclass(frozen=True, slots=True)
class Slope:
    """The trend of a series of one process an hour, and the values between which it was after the warm-up."""

    process: Process
    series: str
    hourly: Trend
    least: int
    most: int

    @property
    def is_flat(self) -> bool:
        """Whether it grows by less than its bar, with 95 % confidence."""
        return self.hourly.high <= (DESCRIPTOR_BAR if self.series == "descriptors" else MEMORY_BAR)


@dataclass(frozen=True, slots=True)
class Soak:
    """A whole run.

    `certificates` counts the distinct ones by release and kind, `tokens` the proxy's answers and its exchanges.
    """

    begun: datetime
    seconds: float
    machine: Mapping[str, str]
    created: Mapping[str, Created]
    events: Sequence[Event]
    samples: Samples
    certificates: Mapping[str, int]
    tokens: Mapping[str, int]

    def slopes(self) -> list[Slope]:
        """The slopes of every process that lived through the whole run after the warm-up."""
        return [
            _slope(process, name, taken)
            for process, all_samples in self.samples.by_process.items()
            if process.release != DISTURBED and (taken := self._after_warm_up(all_samples))
            for name in SERIES
        ]

    def _after_warm_up(self, taken: Sequence[Sample]) -> list[Sample]:
        later = [sample for sample in taken if sample.seconds > self.seconds * WARM_UP]
        return later if later and later[-1].seconds > self.seconds * 0.9 else []

    def lost_with_a_killed_process(self) -> list[Failure]:
        """Failures of calls that a killed process had not answered, or that were sent to it in the moment after."""
        kills = [event.begun for event in self.events if event.name in KILLS]
        return [
            failure
            for failure in self.created[DISTURBED].failures
            if KILLED.search(failure.message) and any(0 <= failure.seconds - kill <= KILLED_SECONDS for kill in kills)
        ]

    def failed(self) -> list[Failure]:
        """All other failures."""
        lost = self.lost_with_a_killed_process()
        return [failure for made in self.created.values() for failure in made.failures if failure not in lost]

    def problems(self) -> list[str]:
        """What is not as it should be, one line each."""
        lines = [f"failed at {failure.seconds:.0f} s: {failure.message}" for failure in self.failed()]
        lines += [f"{event.name} at {event.begun:.0f} s: {event.problem}" for event in self.events if event.problem]
        if self.tokens["failed"]:
            lines.append(f"{self.tokens['failed']} token requests failed")
        if self.seconds >= LEAST_SECONDS:
            lines += [f"not flat: {_line(slope)}" for slope in self.slopes() if not slope.is_flat]
        return lines

    def document(self) -> JsonObject:
        """Everything, as JSON."""
        return {
            "begun": self.begun.isoformat(timespec="seconds"),
            "seconds": self.seconds,
            "machine": dict(self.machine),
            "creations": {
                release: {
                    "count": len(made.seconds),
                    "seconds": _times(made.seconds),
                    "failures": [asdict(failure) for failure in made.failures],
                }
                for release, made in self.created.items()
            },
            "lostWithKilledProcess": len(self.lost_with_a_killed_process()),
            "failed": len(self.failed()),
            "events": [asdict(event) for event in self.events],
            "certificates": dict(self.certificates),
            "tokens": dict(self.tokens),
            "slopes": [asdict(slope) | {"flat": slope.is_flat} for slope in self.slopes()],
            "unlisted": self.samples.unlisted,
            "processes": [
                {**asdict(process), "columns": list(Sample.__slots__), "samples": [_row(sample) for sample in taken]}
                for process, taken in self.samples.by_process.items()
            ],
        }

    def text(self) -> str:
        """A summary to print."""
        return "\n".join(
            [
                f"{self.seconds / 60:.0f} minutes; "
                + "; ".join(f"{key} {value}" for key, value in self.machine.items()),
                *(
                    f"{release}: {len(made.seconds)} pods created, {len(made.failures)} failed, seconds: "
                    + ", ".join(f"{name} {value:.3f}" for name, value in _times(made.seconds).items())
                    for release, made in self.created.items()
                ),
                f"of the failures {len(self.lost_with_a_killed_process())} were lost with a killed process",
                ", ".join(f"{count} {name}" for name, count in _counted(event.name for event in self.events).items()),
                ", ".join(f"{count} {name}" for name, count in self.certificates.items()),
                ", ".join(f"{count} {name}" for name, count in self.tokens.items()),
                *map(_line, self.slopes()),
                *(_range(role, self.samples.by_process) for role in ("server", "supervisor")),
                *self.problems(),
            ]
        )


def _slope(process: Process, name: str, taken: Sequence[Sample]) -> Slope:
    points = [(sample.seconds / HOUR, float(SERIES[name](sample))) for sample in taken]
    values = [SERIES[name](sample) for sample in taken]
    return Slope(process, name, trend(points), min(values), max(values))


def _line(slope: Slope) -> str:
    scale, unit = (1, "") if slope.series == "descriptors" else (1024, " MiB")
    least, most, hourly, low, high = (
        value / scale for value in (slope.least, slope.most, slope.hourly.slope, slope.hourly.low, slope.hourly.high)
    )
    return (
        f"{slope.process.release} {slope.process.role} {slope.process.pod}: {slope.series} "
        f"{least:.1f} to {most:.1f}{unit}, {hourly:+.3f}{unit} an hour (95 %: {low:+.3f} to {high:+.3f})"
    )


def _range(role: str, by_process: Mapping[Process, Sequence[Sample]]) -> str:
    taken = [taken for process, taken in by_process.items() if process.release == DISTURBED and process.role == role]
    rss = [sample.rss / 1024 for samples in taken for sample in samples]
    descriptors = [sample.descriptors for samples in taken for sample in samples]
    return (
        f"{DISTURBED} {role}, {len(taken)} processes: at most {max(rss, default=0):.1f} MiB of RSS and "
        f"{max(descriptors, default=0)} descriptors"
    )


def _times(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {}
    cut = quantiles(seconds, n=1000)
    return {"p50": cut[499], "p99": cut[989], "p99.9": cut[998], "most": max(seconds)}


def _row(sample: Sample) -> list[float]:
    return [round(sample.seconds, 1), sample.rss, sample.anonymous, sample.pss, sample.descriptors]


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    return counts
