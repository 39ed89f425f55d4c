"""`python -m tests.e2e.needs`: missing requirements of `make e2e`, each with the command that installs it."""

import sys

from tests.cluster.support.node import needs
from tests.image import build


def missing() -> list[str]:
    """The missing requirements, one line each."""
    return [*needs.missing(), *filter(None, [build.missing()])]


if __name__ == "__main__":
    sys.exit("\n".join(f"e2e: {line}" for line in missing()) or None)
