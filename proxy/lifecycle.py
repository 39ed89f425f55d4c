"""From settings to a running proxy, and to its end."""

import asyncio
import errno
import gc
import logging
import signal
from typing import Final

from proxy import trust
from proxy.app import App
from proxy.clock import Clock
from proxy.exchange import Exchange
from proxy.messages import Request, Response
from proxy.metrics import Metrics
from proxy.passthrough import PassThrough
from proxy.server import Server
from proxy.settings import Settings
from proxy.tokens import Tokens

GC_ALLOCATIONS: Final = 10_000

log = logging.getLogger("proxy")


class StartError(Exception):
    """The proxy cannot start; the message says what to do."""


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is open; a second signal ends at once.

    Raises:
        StartError: when something that is needed is missing.
    """
    clock, metrics = Clock(), Metrics()
    tokens = Tokens(Exchange(settings, _trust(settings), clock, metrics.exchanged), clock)
    server = Server(_not_yet)
    pass_through = PassThrough(settings.pass_through)
    server.handler = App(tokens, pass_through, metrics, clock, settings.client_id, lambda: not server.draining)
    stop = _stop_requested()
    try:
        await server.listen(settings.port)
    except OSError as error:
        what = "another proxy listens there" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise StartError(f"cannot listen on port {settings.port} of localhost: {what}; choose another port") from error
    _settle_memory()
    log.info("serving", extra={"fields": {"port": settings.port}})
    await stop.wait()
    log.info("stopping")
    await server.drain()
    await tokens.close()


def _trust(settings: Settings) -> trust.Trust:
    try:
        system = trust.system(settings.environ)
        return trust.of_token_proxy(settings.token_proxy, system) if settings.token_proxy else system
    except trust.TrustError as error:
        raise StartError(str(error)) from error


async def _not_yet(_request: Request) -> Response:
    raise NotImplementedError


def _stop_requested() -> asyncio.Event:
    """Set by the first signal; the second does what signals do by default."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def requested() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, requested)
    return stop


def _settle_memory() -> None:
    """Keep the garbage collector off what stays for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
