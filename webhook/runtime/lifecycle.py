"""The life of a server, from its components to its exit."""

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

from certs.errors import CertificateError
from certs.serving import ServingContext, follow
from webhook.config.settings import TLS_VERSIONS, Address, Settings
from webhook.runtime import allocator, certificate_expiry
from webhook.runtime.components import BackgroundTask, Components, StartError, run_forever
from webhook.runtime.http_server import HttpServer
from webhook.runtime.imports import collect_garbage_rarely
from webhook.runtime.shutdown import Shutdown, cancel
from webhook.runtime.sockets import Listeners
from webhook.runtime.tls import ClientCaFile, configurator
from webhook.server.app import AdmissionApp, admission_app, health_app, metrics_app
from webhook.server.connections import ConnectionTable, Limits

# An API server opens a connection for each review that is in flight, a few hundred at its own limits; with TLS one
# takes some 50 KiB here.
WEBHOOK_LIMITS: Final = Limits(total=1024, source=768)
# Probes and scrapes come one at a time; there is room for as many connections as open before one of them is read.
PLAIN_LIMITS: Final = Limits(total=256, source=224)

log = logging.getLogger(__name__)


async def serve(
    settings: Settings,
    components: Components,
    started: Callable[[], Awaitable[None]] | None = None,
    listeners: Listeners | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and finish open requests; a second signal ends at once.

    `started` is awaited once all listeners answer.

    Raises:
        StartError: when a port is taken, or a role of the cluster is missing.
    """
    shutdown = Shutdown()
    listeners = listeners or Listeners()
    try:
        bound = listeners.listen(Address(settings.webhook_host, settings.webhook_port), "--webhook-port")
        plain_servers = list(_plain_servers(settings, components, listeners))
        listeners.on_supervisor_exit(shutdown.request)
        if listeners.killed_by:
            log.error("signal %d ended the server; this one serves in its place", listeners.killed_by)
            components.metrics.record_crash()
        with shutdown.on_signals():
            async with _serving(plain_servers, shutdown):
                context = await shutdown.unless_stopped(_context(settings, components))
                if context is None:
                    return
                table = ConnectionTable("webhook", WEBHOOK_LIMITS, components.metrics.record_closed_connection)
                app = _admission_app(components)
                webhook = HttpServer(app, bound, table, lambda: context.ssl, app.answers())
                tasks = (*_certificate_tasks(components, context), lambda: allocator.watch(table))
                background = (*tasks, *components.background)
                async with _serving([webhook], shutdown), _running(background):
                    async with _running(components.until_draining):
                        components.readiness.serve(context)
                        tune_garbage_collector()
                        log.info("serving", extra={"fields": {"port": settings.webhook_port}})
                        if started is not None:
                            await started()
                        await shutdown.requested()
                    log.info("draining")
                    components.readiness.drain()
                    await shutdown.drain(settings.drain_period.total_seconds())
                    listeners.release()
        log.info("stopped")
    finally:
        await components.close()


async def _context(settings: Settings, components: Components) -> ServingContext:
    try:
        await components.before_serving()
        minimum = TLS_VERSIONS[settings.tls_min_version]
        client_ca = ClientCaFile(settings.client_ca_file)
        return ServingContext(components.certificates, minimum, configurator(settings), client_ca.read)
    except (CertificateError, StartError, ValueError) as error:
        await components.on_start_failure(str(error))
        raise StartError(str(error)) from error


def _certificate_tasks(components: Components, context: ServingContext) -> tuple[BackgroundTask, ...]:
    components.metrics.observe_certificate("serving", lambda: context.validity.not_after.timestamp())  # noqa: PLW0108  the validity changes
    return (
        lambda: follow(context.refresh, _log_new_certificate, _log_certificate_failure),
        lambda: follow(context.refresh_client_ca, _log_new_client_ca, _log_client_ca_failure),
        lambda: certificate_expiry.watch(context, components.on_expiring, components.now),
    )


def _admission_app(components: Components) -> AdmissionApp:
    readiness = components.readiness
    return admission_app(components.accounts, components.policy.get, components.metrics, lambda: readiness.draining)


def _plain_servers(settings: Settings, components: Components, listeners: Listeners) -> Iterator[HttpServer]:
    apps = (
        ("health", settings.health_addr, health_app(components.readiness.unready_reason)),
        ("metrics", settings.metrics_addr, metrics_app(components.metrics)),
    )
    for port, address, app in apps:
        if address is not None:
            table = ConnectionTable(port, PLAIN_LIMITS, components.metrics.record_closed_connection)
            yield HttpServer(app, listeners.listen(address, f"--{port}-addr"), table)


@contextlib.asynccontextmanager
async def _serving(servers: list[HttpServer], shutdown: Shutdown) -> AsyncIterator[None]:
    """Run servers; on leaving they finish open requests."""
    shutdown.servers += servers
    tasks = [asyncio.create_task(server.serve()) for server in servers]
    for task in tasks:
        # A listener that ends by itself ends the process, and Kubernetes restarts it.
        task.add_done_callback(lambda _: shutdown.request())
    try:
        while not all(server.started or task.done() for server, task in zip(servers, tasks, strict=True)):  # noqa: ASYNC110  uvicorn has no event for it
            await asyncio.sleep(0.005)
        yield
    finally:
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*tasks)


@contextlib.asynccontextmanager
async def _running(background: tuple[BackgroundTask, ...]) -> AsyncIterator[None]:
    """Run background tasks; they are cancelled on leaving."""
    tasks = [asyncio.create_task(run_forever(task)) for task in background]
    try:
        yield
    finally:
        await cancel(tasks)


def tune_garbage_collector() -> None:
    """Exclude what is loaded from garbage collection, which took longer than an admission, and collect less often.

    Imports leave so little garbage that a collection before would only delay the first admission, by some 30 ms.
    """
    gc.freeze()
    collect_garbage_rarely()


def _log_new_certificate() -> None:
    log.info("a new certificate is served")


def _log_certificate_failure(error: CertificateError) -> None:
    log.error("the new certificate is not used, the one before it stays: %s", error)


def _log_new_client_ca() -> None:
    log.info("new connections need a certificate of the new CA of clients")


def _log_client_ca_failure(error: CertificateError) -> None:
    log.error("the new CA of clients is not used, the one before it stays: %s", error)
