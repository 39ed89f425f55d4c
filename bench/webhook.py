"""What one admission costs: `python -m bench.webhook` in the repository, on an otherwise idle machine.

Absolute times move from machine to machine and from minute to minute; so the webhook and a floor (`bench.floor`) take
turns, and what counts is the ratio within a turn.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

from bench import report, servers
from bench.load import BenchmarkError, admissions, drive, memory
from bench.report import Result, Turn

REVIEWS: Final = Path(__file__).with_name("reviews")
WARM_UP_SECONDS: Final = 1
FAILED: Final = 1


def main(arguments: Sequence[str]) -> int:
    """Measure and print; missed bars are no failure, since a benchmark is not a test."""
    options = _options(arguments)
    rounds, seconds = (2, 1) if options.quick else (options.rounds, options.seconds)
    results = []
    try:
        for name in options.reviews:
            print(f"{name} ...", file=sys.stderr)
            results.append(measure(name, rounds, seconds))
    except BenchmarkError as error:
        print(f"the benchmark failed: {error}", file=sys.stderr)
        return FAILED
    machine = report.machine()
    print(report.text(machine, results, rounds, seconds, markdown=options.markdown))
    if options.json:
        document = {"machine": machine, "seconds": seconds, "results": [asdict(result) for result in results]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0


def measure(name: str, rounds: int, seconds: int) -> Result:
    """Measure one review in processes of its own.

    Raises:
        BenchmarkError: when a server does not answer as it should.
    """
    review = REVIEWS / f"{name}.json"
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        floor = stack.enter_context(servers.floor(directory))
        webhook = stack.enter_context(servers.webhook(directory, review))
        for server in (floor, webhook):
            servers.check(server, review)
            drive(server.pid, admissions(server.port, review), WARM_UP_SECONDS)
        turns = [
            Turn(
                floor=drive(floor.pid, admissions(floor.port, review), seconds),
                webhook=drive(webhook.pid, admissions(webhook.port, review), seconds),
            )
            for _ in range(rounds)
        ]
        return Result(name, review.stat().st_size, turns, memory(webhook.pid))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.webhook", description="What one admission costs.")
    parser.add_argument("reviews", nargs="*", metavar="REVIEW", help=f"of {', '.join(report.BARS)}; default: all")
    parser.add_argument("--seconds", type=_positive, default=2, help="of load on each server in a round")
    parser.add_argument("--rounds", type=_positive, default=9, help="of which the medians are taken")
    parser.add_argument("--quick", action="store_true", help="two rounds of one second: is it in order at all?")
    parser.add_argument("--markdown", action="store_true", help="print the table for documentation")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round there")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.reviews if name not in report.BARS]:
        parser.error(f"no review {', '.join(unknown)}; there are {', '.join(report.BARS)}")
    options.reviews = options.reviews or list(report.BARS)
    return options


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
