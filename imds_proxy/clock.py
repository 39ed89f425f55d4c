"""Time and randomness, as values that a test can replace."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


def _random() -> float:
    # The random module would be loaded for this alone.
    return int.from_bytes(os.urandom(2)) / 65536


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` returns Unix seconds, `sleep` waits for some seconds, `random` is at least 0 and below 1."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = _random
