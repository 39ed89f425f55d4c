"""Runs the quick tests again and again, on an idle machine and beside busy loops, and names each test that failed.

    python -m tests.repeat RUNS RUNS_BESIDE_BUSY_LOOPS

Three processes run the tests and LOOPS busy ones run beside them: a load of eleven, on a machine of any size. The
output of a run that failed is kept in dist/flaky/. Exit status 1 if any run failed.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

KEPT: Final = Path("dist/flaky")
LOOPS: Final = 8
QUICK: Final = [sys.executable, "-m", "pytest", "-q", "--part=quick", "--numprocesses=3", "--dist=worksteal"]


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """Keep that many processes busy inside the block."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def run(name: str, loops: int) -> list[str]:
    """Run the quick tests once, print a line, and return what failed: lines of pytest's summary."""
    begun = time.monotonic()
    with busy(loops):
        done = subprocess.run(QUICK, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode and not failed:
        failed = [f"exit status {done.returncode}"]
    if failed:
        KEPT.mkdir(parents=True, exist_ok=True)
        (KEPT / f"{name}.txt").write_text(done.stdout + done.stderr)
    beside = f" beside {loops} busy loops" if loops else ""
    print(f"{name}{beside}: {lines[-1] if lines else 'no output'}, {time.monotonic() - begun:.0f} s", flush=True)  # noqa: T201  a program
    return failed


def main() -> int:
    """Run as often as the command line says."""
    runs, loaded = (int(argument) for argument in sys.argv[1:])
    failures: Counter[str] = Counter()
    for number in range(1, runs + 1):
        failures.update(run(f"run-{number}", 0))
    for number in range(1, loaded + 1):
        failures.update(run(f"loaded-run-{number}", LOOPS))
    for failure, times in failures.most_common():
        print(f"{times} times: {failure}")  # noqa: T201  a program
    print(f"{runs} runs and {loaded} beside busy loops: {failures.total()} failures")  # noqa: T201  a program
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
