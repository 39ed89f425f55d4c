"""Fills a container's memory until the kernel's out-of-memory killer has acted: `python -m tests.e2e.hog CGROUP KILLS`.

A process of this machine that joins the container's memory cgroup, and can take no more than its limit. It ends once so
many processes were killed there.
"""

import os
import sys
import time
from pathlib import Path
from typing import Final

STEP: Final = 1 << 20
SECONDS: Final = 60.0


def kills(cgroup: Path) -> int:
    """Return how many processes of a cgroup the kernel has ended for want of memory."""
    lines = (cgroup / "memory.oom_control").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))


def main(cgroup: Path, wanted: int) -> int:
    """Take memory until there were so many kills."""
    limit = int((cgroup / "memory.limit_in_bytes").read_text())
    before, deadline = kills(cgroup), time.monotonic() + SECONDS
    (cgroup / "cgroup.procs").write_text(str(os.getpid()))
    taken: list[bytearray] = []
    while kills(cgroup) - before < wanted:
        if time.monotonic() > deadline:
            return 1
        if len(taken) * STEP < limit:
            taken.append(bytearray(b"x" * STEP))
        else:
            time.sleep(0.001)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
