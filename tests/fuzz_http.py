"""Fuzzes the HTTP of a running server: `python -m tests.fuzz_http PORT COUNT [SEED]`, PORT webhook, health or metrics.

Each stream is a request or several, changed in its bytes and sent in pieces over a connection of its own, over TLS on
the webhook port. It exits with status 1 if an answer is a 5xx, the server is not ready at the end, its log has an
error, or its memory has grown.
"""

import asyncio
import json
import random
import re
import ssl
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Final

import uvloop

from testbed.pods import pod
from testbed.processes import child
from testbed.program import Program, review, started

WORKERS: Final = 32
# How long an answer is waited for; most unfinished streams have none.
ANSWER_SECONDS: Final = 0.05
# Memory is measured after each. What the allocator and caches take grows at first, and then no more.
PARTS: Final = 4
MAX_GROWTH_KIB: Final = 16 << 10
MAX_LATE_GROWTH_KIB: Final = 4 << 10
BODY: Final = json.dumps(review(pod(serviceAccountName="quickstart"))).encode()
CHUNKED: Final = b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
POST: Final = b"POST /mutate-v1-pod HTTP/1.1\r\nHost: webhook\r\nContent-Type: application/json\r\n"
SEEDS: Final = (
    POST + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    POST + CHUNKED + b"\r\n",
    POST + CHUNKED + b"x-trailer: 1\r\n" * 3 + b"\r\n",
    POST + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY),
    POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 3,
    b"GET /metrics HTTP/1.0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"GET http://x/readyz?a=%zz HTTP/1.1\r\n" + b"a: b\r\n" * 99 + b"\r\n",
)
PIECES: Final = (
    *(b"\r\n", b"\r", b"\n", b"\0", b" ", b":", b"%", b"\xff", b"\r\n\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n"),
    *(b"Content-Length: 5\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"HTTP/9.9"),
    *(b"a: " + b"x" * 3000 + b"\r\n", b"1;" + b"e" * 3000 + b"\r\n", b"Connection: close\r\n", b"//", b"/%2e%2e/"),
)
_FAILURE: Final = re.compile(rb"HTTP/1\.[01] 5\d\d")


def stream(chance: random.Random, seeds: Sequence[bytes], fragments: Sequence[bytes]) -> list[bytes]:
    """One stream, in the pieces in which it is sent."""
    data = b"".join(chance.choice(seeds) for _ in range(chance.choice((1, 1, 1, 2))))
    for _ in range(chance.randint(0, 5)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 0, 1, 8, 200)))
        data = data[:start] + chance.choice((chance.choice(fragments), chance.randbytes(2), b"")) + data[end:]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def send(pieces: list[bytes], port: int, context: ssl.SSLContext | None) -> bytes:
    """Send a stream over a new connection; return the answer, as much as comes soon."""
    host = "127.0.0.1" if context else None
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=host)
    received = b""
    with suppress(OSError, TimeoutError):
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(ANSWER_SECONDS):
            while data := await reader.read(65536):
                received += data
    writer.transport.abort()
    return received


async def fuzz(
    port: int,
    context: ssl.SSLContext | None,
    count: int,
    seed: int,
    seeds: Sequence[bytes] = SEEDS,
    fragments: Sequence[bytes] = PIECES,
) -> Counter[str]:
    """Send so many streams, made of seeds and fragments, and count the statuses of their answers."""
    chance, found, remaining = random.Random(seed), Counter[str](), iter(range(count))  # noqa: S311  not for secrets

    async def work() -> None:
        for number in remaining:
            pieces = stream(chance, seeds, fragments)
            received = await send(pieces, port, context)
            if _FAILURE.search(received):
                raise AssertionError(f"stream {number} of seed {seed}, {pieces!r}, was answered {received!r}")
            found[received[9:12].decode(errors="replace") or "none"] += 1

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return found


def resident(program: Program) -> int:
    """The server's resident memory in KiB."""
    status = Path(f"/proc/{child(program.process.pid)}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])


def main(port: str, count: int, seed: int) -> int:
    """Start a server and fuzz one of its ports."""
    with tempfile.TemporaryDirectory() as directory, started(Path(directory), "--log-level=") as program:
        number = {"webhook": program.port, "health": program.health, "metrics": program.metrics}[port]
        context = program.context() if port == "webhook" else None
        uvloop.run(fuzz(number, context, min(count, 2000), seed))
        sizes, found = [resident(program)], Counter[str]()
        for part in range(1, PARTS + 1):
            found += uvloop.run(fuzz(number, context, count // PARTS, seed + part))
            sizes.append(resident(program))
        is_ready = program.get(program.health, "/readyz")[0] == 200
        errors = [line for line in program.lines() if line["level"] == "error"]
    growth = ", ".join(f"{(after - before) / 1024:.1f}" for before, after in pairwise(sizes))
    print(  # noqa: T201  a program
        f"{port}, seed {seed}: {found.total():,} streams, {dict(found)}; memory grew by {growth} MiB in quarters; "
        f"ready: {is_ready}; errors in the log: {len(errors)}",
        flush=True,
    )
    is_flat = sizes[-1] - sizes[0] <= MAX_GROWTH_KIB and sizes[-1] - sizes[PARTS // 2] <= MAX_LATE_GROWTH_KIB
    return int(not is_flat or not is_ready or bool(errors))


if __name__ == "__main__":
    words = sys.argv[1:]
    sys.exit(
        main(words[0], int(words[1]), int(words[2]) if len(words) > 2 else random.SystemRandom().randrange(1 << 32))
    )
