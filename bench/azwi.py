"""What a command of azwi costs at a prompt: `python -m bench.azwi`, CPU next to a bare interpreter's."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Final

from bench import report

ROOT: Final = Path(__file__).resolve().parent.parent
RUNS: Final = 9
BARE: Final = "bare interpreter"
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    BARE: ("-c", "pass"),
    "azwi --help": ("-m", "azwi_cli", "--help"),
    "azwi version": ("-m", "azwi_cli", "version"),
    "azwi mutate -f one pod": ("-m", "azwi_cli", "mutate", "-f", "examples/quickstart.yaml"),
}
# CPU seconds.
BARS: Final = {"azwi --help": 0.25, "azwi mutate -f one pod": 0.4}


def main() -> int:
    """Measure in turns and print; a missed bar is no failure, since a benchmark is not a test."""
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, arguments in COMMANDS.items():
            times[name].append(cpu(arguments))
    machine = report.machine()
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(f"median of {RUNS} runs in turns, CPU of user and system together\n")
    bare = median(times[BARE])
    for name, seconds in times.items():
        bar = f"  bar {BARS[name]:.2f} s" if name in BARS else ""
        print(f"{name:24} {median(seconds) * 1000:5.0f} ms  x{median(seconds) / bare:5.1f}{bar}")
    return 0


def cpu(arguments: tuple[str, ...]) -> float:
    """The CPU seconds of one run of the interpreter."""
    environment = {**os.environ, "AZURE_TENANT_ID": "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"}
    process = subprocess.Popen([sys.executable, *arguments], cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    sys.exit(main())
