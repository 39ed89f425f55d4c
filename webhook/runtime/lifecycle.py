"""A running server, from its parts to its end."""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterator
from typing import Any, Final, TypeVar

import uvicorn
from starlette.types import ASGIApp

from certs.serving import ServingContext
from certs.source import CertificateError
from webhook.config.settings import TLS_VERSIONS, Address, Settings
from webhook.runtime import certificate_expiry
from webhook.runtime.components import Parts, Run, StartError, supervise
from webhook.runtime.sockets import Listeners
from webhook.server.app import admission_app, health_app, metrics_app
from webhook.server.bounded_protocol import BoundedProtocol

# Longer than the 90 s after which the API server drops an idle connection: were it us who dropped it, a review sent
# at that moment would fail with EOF, since a POST is not sent twice.
KEEP_ALIVE_SECONDS: Final = 120
MAX_CONNECTIONS: Final = 2000
GRACE_SECONDS: Final = 10
GC_ALLOCATIONS: Final = 50_000
T = TypeVar("T")

log = logging.getLogger(__name__)


class Stop:
    """The wish to stop: a first signal begins it, a second one ends everything at once."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._hurried = asyncio.Event()
        self._drains = False
        self.servers: list[_Server] = []

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Hear SIGTERM and SIGINT."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._heard, number)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def _heard(self, number: int) -> None:
        if self._asked.is_set():
            self._hurried.set()
            for server in self.servers:
                server.force_exit = True
        # Who presses Ctrl-C waits for nobody's endpoints.
        self._drains = number == signal.SIGTERM
        self._asked.set()

    def ask(self) -> None:
        """Wish to stop."""
        self._asked.set()

    async def asked(self) -> None:
        """Wait for the wish."""
        await self._asked.wait()

    async def drained(self, seconds: float) -> None:
        """Give clients this long to turn elsewhere; no time at all after Ctrl-C or a second signal."""
        if self._drains:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._hurried.wait()


async def serve(
    settings: Settings,
    parts: Parts,
    started: Callable[[], Awaitable[None]] | None = None,
    listeners: Listeners | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and finish what is open; a second signal ends at once.

    `started` is awaited once all listeners answer.

    Raises:
        StartError: when a port cannot be had, or the cluster does not let us.
    """
    stop = Stop()
    listeners = listeners or Listeners()
    try:
        bound = listeners.listen(Address(settings.webhook_host, settings.webhook_port))
        pages = list(_pages(settings, parts, listeners))
        listeners.when_alone(stop.ask)
        if listeners.ended_by:
            log.error("signal %d ended the server; this one serves in its place", listeners.ended_by)
            parts.metrics.crashed()
        with stop.on_signals():
            async with _answering(pages, stop):
                context = await _unless(stop, _context(settings, parts))
                if context is None:
                    return
                webhook = _webhook(parts, context, bound)
                background = (*_certificate_tasks(parts, context), *parts.background)
                async with _answering([webhook], stop), _running(background):
                    parts.readiness.serve(context)
                    _settle_memory()
                    log.info("serving", extra={"fields": {"port": settings.webhook_port}})
                    if started is not None:
                        await started()
                    await stop.asked()
                    parts.readiness.drain()
                    await stop.drained(settings.drain_period.total_seconds())
                    listeners.let_go()
    finally:
        await parts.close()


async def _context(settings: Settings, parts: Parts) -> ServingContext:
    try:
        await parts.first()
        return ServingContext(parts.certificates, TLS_VERSIONS[settings.tls_min_version])
    except (CertificateError, ValueError) as error:
        raise StartError(str(error)) from error


def _certificate_tasks(parts: Parts, context: ServingContext) -> tuple[Run, ...]:
    parts.metrics.watch_certificate("serving", lambda: context.validity.not_after.timestamp())  # noqa: PLW0108  the validity changes
    return (
        lambda: context.follow(_certificate_changed, _certificate_failed),
        lambda: certificate_expiry.watch(context, parts.near_expiry),
    )


async def _unless(stop: Stop, awaited: Coroutine[Any, Any, T]) -> T | None:
    """The result, or None when the wish to stop came first."""
    task, stopped = asyncio.create_task(awaited), asyncio.create_task(stop.asked())
    try:
        await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
        return await task if task.done() else None
    finally:
        await _cancelled([task, stopped])


@contextlib.asynccontextmanager
async def _answering(servers: list["_Server"], stop: Stop) -> AsyncIterator[None]:
    """Servers that answer now, and on leaving finish what is open."""
    stop.servers += servers
    serving = [asyncio.create_task(server.serve()) for server in servers]
    for task in serving:
        # A listener that ends by itself is the end of the process; something else starts it anew.
        task.add_done_callback(lambda _: stop.ask())
    try:
        while not all(server.started or task.done() for server, task in zip(servers, serving, strict=True)):  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.005)
        yield
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)


@contextlib.asynccontextmanager
async def _running(runs: tuple[Run, ...]) -> AsyncIterator[None]:
    """Background tasks, ended on leaving."""
    tasks = [asyncio.create_task(supervise(run)) for run in runs]
    try:
        yield
    finally:
        await _cancelled(tasks)


async def _cancelled(tasks: "list[asyncio.Task[Any]]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _Server(uvicorn.Server):
    """A uvicorn server on a socket of ours that leaves signals alone: there are several in this process."""

    def __init__(self, config: uvicorn.Config, bound: socket.socket) -> None:
        super().__init__(config)
        self._bound = bound

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super().serve(sockets or [self._bound])

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _webhook(parts: Parts, context: ServingContext, bound: socket.socket) -> _Server:
    app = admission_app(parts.accounts, lambda: parts.current.policy, parts.metrics, lambda: parts.readiness.draining)
    return _server(app, bound, context)


def _pages(settings: Settings, parts: Parts, listeners: Listeners) -> Iterator[_Server]:
    if settings.health_addr is not None:
        yield _server(health_app(parts.readiness.complaint), listeners.listen(settings.health_addr))
    if settings.metrics_addr is not None:
        yield _server(metrics_app(parts.metrics), listeners.listen(settings.metrics_addr))


def _server(app: ASGIApp, bound: socket.socket, context: ServingContext | None = None) -> _Server:
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_context_factory=None if context is None else lambda _config, _default: context.ssl,
    )
    return _Server(config, bound)


def _settle_memory() -> None:
    """Keep the garbage collector off what stays for good, and from running for each review.

    A decoded review is thousands of maps that make no cycles; by default each few hundred of them set off a collection,
    and now and then one of everything that is loaded, which took longer than the admission.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)


def _certificate_changed() -> None:
    log.info("a new certificate is served")


def _certificate_failed(error: CertificateError) -> None:
    log.error("the new certificate is not used, the one before it stays: %s", error)
