"""Has glibc return freed memory to the kernel.

glibc gives an allocation of 128 KiB and more pages of its own, which freeing returns. By default it raises that bound,
up to 32 MiB, as soon as such an allocation is freed; from then on TLS buffers and bodies lie between small objects, and
their memory is kept. What smaller ones leave between others it keeps in any case, until it is asked for it.
"""

import asyncio
from collections.abc import Callable, Sized
from contextlib import suppress
from typing import Final

# malloc.h
M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
MMAP_BYTES: Final = 128 << 10
# Free memory at the heap's end that stays, so that not every review asks the kernel for pages and gives them back.
TRIM_BYTES: Final = 4 << 20
# A TLS connection takes some 50 KiB. So many fewer are worth the few milliseconds that it takes.
CONNECTIONS: Final = 100
CHECK_SECONDS: Final = 1.0


def _load() -> object:
    with suppress(ImportError, OSError):
        import ctypes  # noqa: PLC0415  a Python may be built without it

        return ctypes.CDLL(None)
    return None


def keep_threshold() -> None:
    """Set both bounds, which glibc then never raises; does nothing where the C library is not glibc."""
    mallopt = getattr(_load(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, MMAP_BYTES)
        mallopt(M_TRIM_THRESHOLD, TRIM_BYTES)


def return_memory() -> None:
    """Return what is free; does nothing where the C library is not glibc."""
    trim = getattr(_load(), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def watch(
    connections: Sized, give_back: Callable[[], None] = return_memory, *, seconds: float = CHECK_SECONDS
) -> None:
    """Return memory whenever CONNECTIONS have been closed and not been replaced."""
    most = 0
    while True:
        await asyncio.sleep(seconds)
        most = max(most, len(connections))
        if most - len(connections) >= CONNECTIONS:
            give_back()
            most = len(connections)
