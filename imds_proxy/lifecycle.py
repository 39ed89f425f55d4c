"""Starts the proxy from its settings, and stops it."""

import asyncio
import errno
import gc
import logging
import signal
from collections.abc import Awaitable, Callable

from azure_workload_identity import names
from imds_proxy import trust
from imds_proxy.app import App
from imds_proxy.clock import Clock
from imds_proxy.exchange import Exchange
from imds_proxy.metrics import Metrics
from imds_proxy.passthrough import PassThrough
from imds_proxy.request import TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.server import Server
from imds_proxy.settings import Settings
from imds_proxy.token_cache import TokenCache

log = logging.getLogger("proxy")


class StartError(Exception):
    """The proxy cannot start; the message says what to do."""


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish the open requests; a second signal ends the process at once.

    Raises:
        StartError: when something that it needs is missing.
    """
    clock, metrics = Clock(), Metrics()
    tokens = TokenCache(_exchange(settings, clock, metrics), clock)
    pass_through, stop = PassThrough(settings.pass_through), _stop_requested()
    server = Server(App(tokens, pass_through, metrics, clock, settings.default_client_id, lambda: not stop.is_set()))
    try:
        await server.listen(settings.port)
    except OSError as error:
        port = settings.port
        in_use = error.errno == errno.EADDRINUSE
        reason = f"another process listens on {port}" if in_use else str(error.strerror)
        raise StartError(
            f"cannot listen on port {port} of localhost: {reason}; choose another port with the pod's annotation "
            f"{names.PROXY_PORT}, or --proxy-port in your own manifest"
        ) from error
    _settle_memory()
    log.info("serving", extra={"fields": {"port": settings.port}})
    await stop.wait()
    log.info("stopping")
    await server.drain()
    await tokens.close()


def _exchange(settings: Settings, clock: Clock, metrics: Metrics) -> Callable[[TokenRequest], Awaitable[AccessToken]]:
    exchange = Exchange(settings, _trust(settings), clock, metrics.record_exchange)
    if settings.then is None:
        return exchange
    from imds_proxy.second_exchange import second_exchange  # noqa: PLC0415  few proxies make one

    return second_exchange(exchange, settings, trust.system(settings.environ), clock, metrics.record_exchange)


def _trust(settings: Settings) -> trust.Trust:
    try:
        system = trust.system(settings.environ)
        return trust.of_token_proxy(settings.token_proxy, system) if settings.token_proxy else system
    except trust.TrustError as error:
        raise StartError(str(error)) from error


def _stop_requested() -> asyncio.Event:
    """Set by the first signal; the second has its default effect."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def request_stop() -> None:
        stop.set()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, request_stop)
    return stop


def _settle_memory() -> None:
    """Exempt the objects that live as long as the process from garbage collection."""
    gc.collect()
    gc.freeze()
