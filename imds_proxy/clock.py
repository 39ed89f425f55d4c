"""Time and chance, as values that a test can replace."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


def _chance() -> float:
    # The random module would be loaded for this alone.
    return int.from_bytes(os.urandom(2)) / 65536


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` gives Unix seconds, `sleep` waits some, `chance` is from 0 to below 1."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    chance: Callable[[], float] = _chance
