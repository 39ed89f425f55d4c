"""The memory that the C library keeps."""

import asyncio
import subprocess
import sys

import pytest

from testbed.processes import until_in_loop
from webhook.runtime import allocator

# Bodies and TLS buffers between small objects, as a burst of connections leaves them.
PROGRAM = """
from webhook.runtime import allocator

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4 >> 10

if {kept}:
    allocator.keep_threshold()
bytes(1 << 20)
data, small, large = b"x" * (256 << 10), [], []
for number in range(400):
    large.append(bytearray(data))
    small.append(b"y" * (5000 + number))
del large
print(resident())
"""


def test_threshold() -> None:
    """What large allocations took is returned when they are freed, though small ones were made between them."""

    def resident(*, kept: bool) -> int:
        program = PROGRAM.format(kept=kept)
        return int(subprocess.run([sys.executable, "-c", program], check=True, capture_output=True).stdout)

    assert resident(kept=True) < 60 < resident(kept=False)


def test_watch() -> None:
    """Memory is returned when many connections are gone, and not while some come and go."""
    connections: list[None] = []
    returned: list[int] = []

    async def run() -> None:
        watch = asyncio.create_task(
            allocator.watch(connections, lambda: returned.append(len(connections)), seconds=0.001)
        )
        for size in (50, 10, 200, 150):
            connections[:] = [None] * size
            await asyncio.sleep(0.02)
        assert not returned
        connections.clear()
        await until_in_loop(lambda: returned)
        watch.cancel()

    asyncio.run(run())
    assert returned == [0]


def test_return_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both do nothing where the C library has no such functions."""
    monkeypatch.setattr(allocator, "_load", lambda: None)
    allocator.return_memory()
    allocator.keep_threshold()
