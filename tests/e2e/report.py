"""Measurements, printed at the end of the run."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

LINES: list[str] = []

log = logging.getLogger(__name__)


def note(text: str) -> None:
    """Keep a line for the end of the run."""
    log.info(text)
    LINES.append(text)


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Note how many seconds something took."""
    begun = time.monotonic()
    yield
    note(f"{time.monotonic() - begun:7.2f} s  {what}")
