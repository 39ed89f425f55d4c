"""`python -m tests.e2e.needs`: missing requirements of `make e2e`, each with the command that installs it.

With `chaos` those of `make chaos`.
"""

import shutil
import sys

from tests.cluster.support.node import needs
from tests.image import build


def missing() -> list[str]:
    """The missing requirements, one line each."""
    return [*needs.missing(), *filter(None, [build.missing()])]


def missing_for_chaos() -> list[str]:
    """Those of `make chaos` besides, one line each."""
    return [] if shutil.which("cc") else ["no cc on PATH: apt-get install --no-install-recommends gcc libc6-dev"]


if __name__ == "__main__":
    lacking = [*missing(), *(missing_for_chaos() if "chaos" in sys.argv else [])]
    sys.exit("\n".join(f"e2e: {line}" for line in lacking) or None)
