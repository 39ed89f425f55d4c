"""Time and randomness, as values that a test can replace."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


def _monotonic() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _random() -> float:
    # The random module would be loaded for this alone.
    return int.from_bytes(os.urandom(2)) / 65536


@dataclass(frozen=True, slots=True)
class Clock:
    """`unix` returns Unix seconds, `sleep` waits for some seconds, `random` is at least 0 and below 1.

    `monotonic` never jumps, and counts the time that the machine is suspended: every lifetime and wait is measured by
    it, so that setting the time of day neither revives a dead token nor prolongs a failure.
    """

    unix: Callable[[], float] = time.time
    monotonic: Callable[[], float] = _monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = _random
