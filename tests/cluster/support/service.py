"""A Service on loopback: what kube-proxy and the endpoint controller do, for processes of this machine."""

import asyncio
import http.client
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from testbed.processes import MAX_WAIT_SECONDS

POLL_SECONDS = 0.1
PROBE_SECONDS = 10.0  # a busy machine must not look like a replica that is not ready


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A replica: the ports of its webhook and of its health page, and where it listens."""

    port: int
    health_port: int
    host: str = "127.0.0.1"


# Whether an endpoint is ready; it may block.
Probe = Callable[[Endpoint], bool]


class Service:
    """Forwards connections to one address to the replicas whose readiness probe succeeds, in turns.

    A connection once made stays where it is, as with kube-proxy; without a ready replica it is refused.
    """

    def __init__(self, host: str, port: int, probe: Probe) -> None:
        self._host = host
        self._port = port
        self._probe = probe
        self._endpoints: tuple[Endpoint, ...] = ()
        self._ready: tuple[Endpoint, ...] = ()
        self._turn = 0

    def add(self, endpoint: Endpoint) -> None:
        """A replica was created; it gets connections once it is ready."""
        self._endpoints = (*self._endpoints, endpoint)

    def remove(self, endpoint: Endpoint) -> None:
        """A replica is being deleted: no new connections for it."""
        self._endpoints = tuple(item for item in self._endpoints if item != endpoint)
        self._ready = tuple(item for item in self._ready if item != endpoint)

    @property
    def ready(self) -> tuple[Endpoint, ...]:
        """The replicas that get connections."""
        return self._ready

    async def serve(self, started: threading.Event) -> None:
        """Forward until cancelled."""
        server = await asyncio.start_server(self._forward, self._host, self._port, backlog=512)
        started.set()
        async with server:
            while True:
                found = [endpoint for endpoint in self._endpoints if await asyncio.to_thread(self._probe, endpoint)]
                self._ready = tuple(item for item in found if item in self._endpoints)
                await asyncio.sleep(POLL_SECONDS)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ready, self._turn = self._ready, self._turn + 1
        if not ready:
            writer.transport.abort()
            return
        chosen = ready[self._turn % len(ready)]
        try:
            there = await asyncio.open_connection(chosen.host, chosen.port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while chunk := await source.read(1 << 16):
                target.write(chunk)
                await target.drain()
    finally:  # also when the Service ends in the middle of a connection
        with suppress(OSError, RuntimeError):
            target.close()


def is_ready(endpoint: Endpoint) -> bool:
    """The readiness probe of a replica."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.health_port, timeout=PROBE_SECONDS)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextmanager
def service(host: str, port: int = 443, probe: Probe = is_ready) -> Iterator[Service]:
    """Run a Service at its ClusterIP, which must be an address of loopback."""
    running, started = Service(host, port, probe), threading.Event()
    loop = asyncio.new_event_loop()

    def run() -> None:
        asyncio.set_event_loop(loop)
        task = loop.create_task(running.serve(started))
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        for left in asyncio.all_tasks(loop):
            left.cancel()
        loop.run_until_complete(asyncio.sleep(0.05))
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    if not started.wait(MAX_WAIT_SECONDS):
        raise TimeoutError(f"nothing listens on {host}:{port}")
    try:
        yield running
    finally:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in asyncio.all_tasks(loop)])
        thread.join(10)
