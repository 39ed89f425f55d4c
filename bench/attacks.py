"""What attacks cost the server: `python -m bench.attacks [--before TREE] [ATTACK ...]`.

Each attack (testbed.attacks) runs against a server of its own on loopback, while another client sends reviews over one
connection and probes the health port. With `--before` the server of another source tree is measured too, which has its
own environment in `.venv`.
"""

import argparse
import http.client
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from azure_workload_identity import names
from bench import report
from bench.load import TICKS
from testbed.attacks import ATTACKS, Target, under_attack
from testbed.pods import pod
from testbed.processes import child
from testbed.program import JSON, ROOT, Program, review, started

MODULE: Final = "webhook.runtime.supervisor"
SECONDS: Final = 5.0
# The API server's default for a webhook.
REVIEW_SECONDS: Final = 10.0
# Between two reviews, and between two probes.
PAUSE_SECONDS: Final = 0.02
PROBE_SECONDS: Final = 0.1
WARM_UP: Final = 5
REVIEW: Final = json.dumps(review(pod(serviceAccountName="quickstart"))).encode()


@dataclass(frozen=True, slots=True)
class Tree:
    """A source tree, the interpreter that runs it, and the module of its server."""

    path: Path = ROOT
    module: str = MODULE

    def command(self, flags: list[str]) -> list[str]:
        """The command that runs its server."""
        own = self.path / ".venv" / "bin" / "python"
        return [str(own) if own.exists() else sys.executable, "-m", self.module, *flags]


@dataclass(slots=True)
class Others:
    """What clients that do not attack met meanwhile: seconds of each review, failures, probes, failed probes."""

    took: list[float] = field(default_factory=list)
    failed: int = 0
    probes: int = 0
    failed_probes: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """One attack: memory at rest and at most in MiB, the share of a core, and what others met.

    `longest_line` is the longest line of the log in bytes; `raw_controls` whether there was a control character or a
    bidirectional mark in it.
    """

    rest: float
    peak: float
    cpu: float
    others: Others
    longest_line: int
    raw_controls: bool


def main(arguments: Sequence[str]) -> int:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench.attacks", description=__doc__.partition("\n")[0])
    parser.add_argument("attacks", nargs="*", metavar="ATTACK", help=f"of {', '.join(ATTACKS)}; all by default")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of each attack")
    parser.add_argument("--before", type=Path, help="another source tree")
    parser.add_argument("--before-module", default=MODULE, help="the module of its server")
    options = parser.parse_args(arguments)
    if unknown := set(options.attacks) - set(ATTACKS):
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    trees = [Tree()]
    if options.before:
        trees.insert(0, Tree(options.before.resolve(), options.before_module))
    print("; ".join(f"{key} {value}" for key, value in report.machine().items()), end="\n\n")
    print("\n".join(head(compared=len(trees) > 1)))
    for name in options.attacks or ATTACKS:
        print(row(name, [measure(name, tree, options.seconds) for tree in trees]), flush=True)
    return 0


def measure(name: str, tree: Tree, seconds: float = SECONDS) -> Result:
    """Start a server of a tree and attack it."""
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        with (
            _log(directory, is_read=ATTACKS[name].reads_log),
            started(directory, command=tree.command, tree=tree.path) as program,
        ):
            for _ in range(WARM_UP):
                program.admit(pod(serviceAccountName="quickstart"))
            return attack(name, program, seconds, has_log=ATTACKS[name].reads_log)


def attack(name: str, program: Program, seconds: float, *, has_log: bool = True) -> Result:
    """Attack a running server and measure."""
    server = Path(f"/proc/{child(program.process.pid)}")
    target = Target("127.0.0.1", program.port, program.health, program.metrics)
    (server / "clear_refs").write_text("5")  # VmHWM begins again
    rest, cpu, start = _mib(server, "VmRSS"), _cpu(server), time.monotonic()
    others, over = Others(), threading.Event()
    clients = [
        threading.Thread(target=client, args=(program, others, over), daemon=True) for client in (_review, _probe)
    ]
    for client in clients:
        client.start()
    try:
        with under_attack(name, target, seconds=seconds) as goes_on:
            while goes_on():
                time.sleep(PAUSE_SECONDS)
    finally:
        over.set()
        for client in clients:
            client.join()
    share = (_cpu(server) - cpu) / (time.monotonic() - start)
    text = program.log.read_bytes() if has_log else b""
    return Result(
        rest,
        _mib(server, "VmHWM"),
        share,
        others,
        max(map(len, text.splitlines()), default=0),
        re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", text.decode()) is not None,
    )


@contextmanager
def _log(directory: Path, *, is_read: bool) -> Iterator[None]:
    """Where the log is not read, have a pipe in its place that is never emptied."""
    if is_read:
        yield
        return
    path = directory / "azwi-webhook.log"
    os.mkfifo(path)
    pipe = os.open(path, os.O_RDWR)
    try:
        yield
    finally:
        os.close(pipe)


def _review(program: Program, others: Others, over: threading.Event) -> None:
    connection = _connection(program)
    while not over.wait(PAUSE_SECONDS):
        start = time.monotonic()
        try:
            connection.request("POST", names.MUTATE_PATH, REVIEW, dict(JSON))
            answer = connection.getresponse()
            answer.read()
            is_good = answer.status == http.client.OK
        except (OSError, http.client.HTTPException):
            is_good = False
        if is_good:
            others.took.append(time.monotonic() - start)
        else:
            others.failed += 1
            connection.close()
            connection = _connection(program)
    connection.close()


def _connection(program: Program) -> http.client.HTTPSConnection:
    context = program.context()
    return http.client.HTTPSConnection("127.0.0.1", program.port, context=context, timeout=REVIEW_SECONDS)


def _probe(program: Program, others: Others, over: threading.Event) -> None:
    while not over.wait(PROBE_SECONDS):
        with closing(http.client.HTTPConnection("127.0.0.1", program.health, timeout=1.0)) as connection:
            others.probes += 1
            try:
                connection.request("GET", "/healthz")
                others.failed_probes += connection.getresponse().status != http.client.OK
            except (OSError, http.client.HTTPException):
                others.failed_probes += 1


def _mib(server: Path, field_name: str) -> float:
    (kib,) = re.findall(rf"{field_name}:\s+(\d+)", (server / "status").read_text())
    return int(kib) / 1024


def _cpu(server: Path) -> float:
    fields = (server / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def head(*, compared: bool) -> list[str]:
    """The first two lines of the table."""
    groups = ("peak memory", "CPU", "other reviews: median, longest", "longest log line")
    columns = [f"{group}{', ' + when if when else ''}" for group in groups for when in _times(compared)]
    return [f"| attack | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]


def _times(compared: bool) -> tuple[str, ...]:  # noqa: FBT001  of one caller
    return ("before", "now") if compared else ("",)


def row(name: str, results: Sequence[Result]) -> str:
    """One line of the table."""
    cells = [
        *(f"{result.peak:.0f} MiB" for result in results),
        *(f"{result.cpu:.0%}".replace("%", " %") for result in results),
        *map(_met, results),
        *(f"{result.longest_line:,} bytes{', raw controls' * result.raw_controls}" for result in results),
    ]
    return f"| {ATTACKS[name].text} | {' | '.join(cells)} |"


def _met(result: Result) -> str:
    others = result.others
    took = others.took or [float("nan")]
    text = f"{median(took) * 1000:,.0f} ms, {max(took) * 1000:,.0f} ms"
    if others.failed:
        text += f", {others.failed} of {others.failed + len(others.took)} failed"
    if others.failed_probes:
        text += f", {others.failed_probes} of {others.probes} probes failed"
    return text


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
