"""Fuzzes the HTTP of the proxy: `python -m tests.fuzz_proxy COUNT [SEED]`.

The proxy runs in a process of its own, with an Entra and an IMDS that always answer. It exits with status 1 if an
answer is a 5xx, a client gets no token at the end, the log has an error, or the memory has grown.
"""

import asyncio
import http.client
import json
import random
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity import logs
from imds_proxy.app import App
from imds_proxy.clock import Clock
from imds_proxy.metrics import Metrics
from imds_proxy.passthrough import PassThrough
from imds_proxy.request import TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.server import Server
from imds_proxy.settings import Origin
from imds_proxy.token_cache import TokenCache
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, wait_until
from testbed.program import ROOT, listens
from tests.fuzz_http import fuzz

MAX_GROWTH_KIB: Final = 4 << 10
TOKEN: Final = b"/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net"
HEADERS: Final = b"Host: 169.254.169.254\r\nMetadata: true\r\nUser-Agent: fuzz\r\nAccept: */*\r\n"
GOOD: Final = b"GET " + TOKEN + b" HTTP/1.1\r\n" + HEADERS + b"Connection: close\r\n\r\n"
SEEDS: Final = (
    GOOD,
    b"GET " + TOKEN + b"&bypass_cache=true HTTP/1.1\r\n" + HEADERS + b"\r\n",
    b"GET /metadata/instance?api-version=2021-02-01 HTTP/1.1\r\n" + HEADERS + b"\r\n",
    b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nMetadata: true\r\n\r\n",
    b"PUT /metadata HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello" + GOOD,
    b"GET /readyz HTTP/1.0\r\n\r\n",
    b"GET http://169.254.169.254/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3,
    b"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEA\r\n\r\n",
)
FRAGMENTS: Final = (
    *(b"\r\n", b"\n", b"\r", b"\x00", b"%", b"%00", b"%2e%2e%2f", b"..;", b" ", b"\t", b":", b"/", b"?", b"&", b"\xff"),
    *(b"Content-Length: 9\r\n", b"Transfer-Encoding: chunked\r\n", b"Metadata: true \r\n", b"Host: evil.test\r\n"),
    *(b"X-Forwarded-For: 1.2.3.4\r\n", b"a: b\r\n" * 120, b"a" * 5_000, b"0\r\n\r\n", b"ffffffffffffffff\r\n"),
    *(
        b"client_id=&",
        b"object_id=x&",
        b"resource=spn:a&",
        b"HTTP/9.9",
        b"GET ",
        b"CONNECT ",
        b"PRI * HTTP/2.0\r\n\r\n",
    ),
)


async def serve(port: int) -> None:
    """Run the proxy with an Entra and an IMDS that always answer."""

    async def exchange(_request: TokenRequest) -> AccessToken:
        now = clock.monotonic()
        return AccessToken("secret", "Bearer", now, now + 3600, now + 3600)

    async def imds(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    logs.configure("")
    clock = Clock()
    fake = await asyncio.start_server(imds, "127.0.0.1", 0)
    origin = Origin("http", "127.0.0.1", fake.sockets[0].getsockname()[1], "")
    tokens = TokenCache(exchange, clock)
    app = App(tokens, PassThrough(("/metadata/instance",), origin), Metrics(), clock, "client", lambda: True)
    await Server(app).listen(port)
    await asyncio.Event().wait()


@dataclass(frozen=True)
class Result:
    """What a run came to: answers by status, growth of the memory in KiB, and errors in the log."""

    statuses: Counter[str]
    growth: int
    errors: list[str]
    gives_tokens: bool


def run(count: int, seed: int) -> Result:
    """Fuzz a proxy of its own."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tests.fuzz_proxy", "serve", str(port)]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "proxy.log")
        with running(command, log, cwd=ROOT) as process:
            wait_until(lambda: listens(port), process, log, MAX_WAIT_SECONDS)
            # The caches of tokens and failures fill up first; they are bounded.
            asyncio.run(fuzz(port, None, count // 4, seed, SEEDS, FRAGMENTS))
            before = _resident(process.pid)
            statuses = asyncio.run(fuzz(port, None, count, seed + 1, SEEDS, FRAGMENTS))
            growth = _resident(process.pid) - before
            gives_tokens = _gives_tokens(port)
        errors = [line for line in log.read_text().splitlines() if json.loads(line)["level"] == "error"]
    return Result(statuses, growth, errors, gives_tokens)


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4


def _gives_tokens(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=MAX_WAIT_SECONDS)
    try:
        connection.request("GET", TOKEN.decode(), headers={"Metadata": "true"})
        return connection.getresponse().status == http.client.OK
    finally:
        connection.close()


def main(arguments: list[str]) -> int:
    """Run it; the exit status is 1 when something is wrong."""
    if arguments[0] == "serve":
        asyncio.run(serve(int(arguments[1])))
        return 0
    count = int(arguments[0])
    seed = int(arguments[1]) if len(arguments) > 1 else random.SystemRandom().randrange(1 << 32)
    result = run(count, seed)
    print(  # noqa: T201  a program's output
        f"proxy, seed {seed}: {count:,} streams, {dict(result.statuses)}; memory grew by {result.growth / 1024:.1f} "
        f"MiB; gives tokens: {result.gives_tokens}; errors in the log: {len(result.errors)}"
    )
    return int(result.growth > MAX_GROWTH_KIB or not result.gives_tokens or bool(result.errors))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
