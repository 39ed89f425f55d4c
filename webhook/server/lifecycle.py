"""From settings to a running server, and to its end."""

import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from certs.serving import ServingContext
from certs.source import CertificateError, Ephemeral, Mounted, Source
from webhook.accounts.base import Accounts
from webhook.admission.identity import IdentityMapping
from webhook.admission.policy import Policy
from webhook.server import mapping, policies
from webhook.server.app import admission_app, health_app, metrics_app
from webhook.server.metrics import Metrics
from webhook.server.protocol import BoundedProtocol
from webhook.server.settings import PROXY_IMAGE, TLS_VERSIONS, Address, Settings

# Longer than the 90 s after which the API server drops an idle connection: were it us who dropped it, a review sent
# at that moment would fail with EOF, since a POST is not sent twice.
KEEP_ALIVE_SECONDS: Final = 120
MAX_CONNECTIONS: Final = 2000
GRACE_SECONDS: Final = 10
GC_ALLOCATIONS: Final = 50_000
LOCAL_NAMES: Final = ["localhost", "127.0.0.1", "::1"]

log = logging.getLogger(__name__)


class StartError(Exception):
    """The server cannot start; the message is a sentence that says what to do."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server is made of."""

    accounts: Accounts
    policy: Policy
    certificates: Source
    context: ServingContext
    metrics: Metrics


async def prepare(settings: Settings) -> Parts:
    """Everything that can fail before a port is opened.

    Raises:
        StartError: with what to do.
    """
    try:
        mapped = mapping.load(settings.identity_mapping) if settings.identity_mapping else IdentityMapping()
        certificates = _certificates(settings)
        context = ServingContext(certificates, TLS_VERSIONS[settings.tls_min_version])
        accounts, version = await _accounts(settings)
    except (ValueError, OSError, CertificateError) as error:
        raise StartError(str(error)) from error
    if settings.endpoint_suffix and settings.proxy_image == PROXY_IMAGE:
        log.warning(
            "the default PROXY_IMAGE knows no custom token endpoint: pods that ask for both get no token from it"
        )
    return Parts(accounts, policies.build(settings, mapped, version), certificates, context, Metrics())


def _certificates(settings: Settings) -> Source:
    return Mounted(settings.webhook_cert_dir) if settings.disable_cert_rotation else Ephemeral(LOCAL_NAMES)


async def _accounts(settings: Settings) -> tuple[Accounts, tuple[int, int] | None]:
    """The source of accounts and the version of its cluster; the client library is loaded only if there is one."""
    if settings.service_accounts is not None:
        from webhook.accounts.files import FileAccounts  # noqa: PLC0415  see above

        try:
            return FileAccounts(settings.service_accounts), None
        except OSError as error:
            raise StartError(f"--service-accounts {settings.service_accounts}: {error.strerror}") from error
    from webhook.accounts.cluster import Cluster, ClusterAccounts  # noqa: PLC0415  see above

    cluster = await Cluster.connect(settings.kubeconfig)
    version = await cluster.version()
    if version is None:
        log.warning("the cluster's version cannot be read; it is taken for a new one")
    return ClusterAccounts(cluster), version


async def serve(settings: Settings, parts: Parts, started: Callable[[], Awaitable[None]] | None = None) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is open; a second signal ends at once.

    `started` is awaited once all listeners answer.

    Raises:
        StartError: when a port cannot be had.
    """
    try:
        servers = list(_servers(settings, parts))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, _stop, servers)
        async with asyncio.TaskGroup() as group:
            follower = group.create_task(parts.context.follow(_certificate_changed, _certificate_failed))
            await _serve_all(servers, group, settings, started)
            follower.cancel()
    finally:
        await parts.accounts.close()


async def _serve_all(
    servers: list["_Server"],
    group: asyncio.TaskGroup,
    settings: Settings,
    started: Callable[[], Awaitable[None]] | None,
) -> None:
    serving = [group.create_task(server.serve()) for server in servers]
    await _all_started(servers)
    _settle_memory()
    log.info("serving", extra={"fields": {"port": settings.webhook_port}})
    if started is not None:
        await started()
    await asyncio.gather(*serving)


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


def _servers(settings: Settings, parts: Parts) -> Iterator[_Server]:
    webhook = _server(
        admission_app(parts.accounts, lambda: parts.policy, parts.metrics),
        Address(settings.webhook_host, settings.webhook_port),
        parts.context,
    )
    yield webhook
    if settings.health_addr is not None:
        yield _server(health_app(lambda: webhook.started and not webhook.should_exit), settings.health_addr)
    if settings.metrics_addr is not None:
        yield _server(metrics_app(parts.metrics), settings.metrics_addr)


def _server(app: ASGIApp, address: Address, context: ServingContext | None = None) -> _Server:
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
    return _Server(config, _bind(address))


def _bind(address: Address) -> socket.socket:
    """A listening socket; without a host on all interfaces, IPv4 and IPv6 where the machine has both."""
    try:
        if address.host:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            return socket.create_server((address.host, address.port), family=family)
        try:
            return socket.create_server(("", address.port), family=socket.AF_INET6, dualstack_ipv6=True)
        except (OSError, ValueError) as error:
            if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
                raise
            return socket.create_server(("", address.port))
    except OSError as error:
        where = f"{address.host or '*'}:{address.port}"
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"{where} is in use: stop what listens there, or choose another port") from error
        raise StartError(f"cannot listen on {where}: {error.strerror}; choose another address or port") from error


async def _all_started(servers: list[_Server]) -> None:
    while not all(server.started for server in servers):  # noqa: ASYNC110  uvicorn has no event for it
        await asyncio.sleep(0.005)


def _settle_memory() -> None:
    """Keep the garbage collector off what stays for good, and from running for each review.

    A decoded review is thousands of maps that make no cycles; by default each few hundred of them set off a collection,
    and now and then one of everything that is loaded, which took longer than the admission.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)


def _stop(servers: list[_Server]) -> None:
    for server in servers:
        server.force_exit = server.should_exit
        server.should_exit = True


def _certificate_changed() -> None:
    log.info("a new certificate is served")


def _certificate_failed(error: CertificateError) -> None:
    log.error("the new certificate is not used, the one before it stays: %s", error)
