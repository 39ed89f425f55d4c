"""Creates the components of a server in a cluster."""

# ruff: noqa: E402  the first import decides what the others load

from webhook.runtime import imports

imports.import_aiohttp()

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from azure_workload_identity.cluster.client import DENIED, Cluster, ClusterUnavailableError
from azure_workload_identity.cluster.events import Events, Subject
from azure_workload_identity.cluster.retry import retry
from azure_workload_identity.cluster.watch import Watch
from certs.api_clock import ApiClock
from certs.ca_bundle import CaBundle
from certs.errors import CertificateError
from certs.rotation import Lifetimes, SecretSource, Wakeup
from certs.secret import CertSecret
from certs.source import Source
from certs.upstream_secret import UpstreamSecret
from webhook.accounts.cluster import SERVICE_ACCOUNTS, AccountCache, ClusterAccounts
from webhook.admission.identity import IdentityMapping
from webhook.config.settings import Settings
from webhook.runtime import staleness
from webhook.runtime.components import BackgroundTask, Components, StartError, mounted_certificates
from webhook.runtime.current_policy import CurrentPolicy
from webhook.server.metrics import Metrics
from webhook.server.readiness import Readiness

# A cluster is upgraded a few times a year.
VERSION_SECONDS: Final = 600.0

log = logging.getLogger(__name__)


async def create_cluster_components(settings: Settings, mapping: IdentityMapping) -> Components:
    """Create the components, as far as possible without waiting for the API server.

    Raises:
        StartError, ValueError, CertificateError: with what to do.
    """
    cluster = await Cluster.connect(settings.kubeconfig)
    try:
        return await _create(settings, mapping, cluster)
    except BaseException:
        await cluster.close()
        raise


async def _create(settings: Settings, mapping: IdentityMapping, cluster: Cluster) -> Components:
    version = await cluster.version()
    if version is None:
        log.warning("the cluster's version cannot be read; until it can, the cluster is taken for a new one")
    metrics, policy = Metrics(), CurrentPolicy(settings, mapping, version)
    events = Events(cluster, settings.pod_namespace)
    cache = AccountCache()
    accounts = ClusterAccounts(cluster, cache, metrics.record_live_read)
    watch = Watch(cluster, SERVICE_ACCOUNTS, cache, metrics.record_watch_restart)
    metrics.observe_accounts(cache.__len__, lambda: watch.staleness)
    clock = ApiClock()
    certificates = await _certificates(settings, cluster, metrics, clock)
    mapping_watches = _mapping_watches(settings, cluster, events, policy, metrics)

    async def before_serving() -> None:
        access = retry(lambda: _check_access(cluster), StartError)
        loads = (load() for load in (*certificates.before_serving, *mapping_watches.before_serving))
        await asyncio.gather(access, *loads)

    async def on_expiring(note: str) -> None:
        await events.warn(Subject("Secret", settings.cert_secret), "CertificateExpiring", note)

    async def on_start_failure(note: str) -> None:
        await events.warn(Subject("Pod", socket.gethostname()), "FailedStart", note)

    async def close() -> None:
        await accounts.close()
        await cluster.close()

    return Components(
        accounts,
        policy,
        certificates.source,
        metrics,
        readiness=Readiness(
            certificates.bundles,
            bundles_required=settings.self_managed,
            failure=certificates.failure,
            now=clock.now,
        ),
        now=clock.now,
        before_serving=before_serving,
        background=(
            watch.run,
            lambda: staleness.watch(lambda: watch.staleness, events.warn),
            lambda: _follow_version(cluster, policy),
            *certificates.background,
            *mapping_watches.background,
        ),
        until_draining=certificates.until_draining,
        on_expiring=on_expiring,
        on_start_failure=on_start_failure,
        close=close,
    )


async def _check_access(cluster: Cluster) -> None:
    """Check that the server may list ServiceAccounts: without them, no pod would ever get an identity.

    Raises:
        StartError: when it may not.
    """
    try:
        answer = await cluster.get(SERVICE_ACCOUNTS.url(limit=1), SERVICE_ACCOUNTS.accept("PartialObjectMetadataList"))
    except ClusterUnavailableError:
        return  # the watch reports it; the server starts without
    if answer.status in DENIED:
        raise StartError(
            f"the API server does not let the webhook list ServiceAccounts (HTTP {answer.status}): "
            "grant its ServiceAccount get, list and watch on serviceaccounts by a ClusterRole"
        )


async def _follow_version(cluster: Cluster, policy: CurrentPolicy) -> None:
    while True:
        await asyncio.sleep(VERSION_SECONDS if policy.version else 1.0)
        version = await cluster.version()
        if version is not None:
            policy.set_version(version)


@dataclass(frozen=True, slots=True)
class _Certificates:
    source: Source
    bundles: tuple[CaBundle, ...] = ()
    before_serving: tuple[Callable[[], Awaitable[None]], ...] = ()
    background: tuple[BackgroundTask, ...] = ()
    until_draining: tuple[BackgroundTask, ...] = ()
    failure: Callable[[], str] = str


async def _certificates(settings: Settings, cluster: Cluster, metrics: Metrics, clock: ApiClock) -> _Certificates:
    wakeup = Wakeup()
    bundles = tuple(
        CaBundle(cluster, name, wakeup.notify, metrics.record_ca_bundle_patch, clock)
        for name in settings.webhook_configurations
    )
    if not settings.self_managed:
        bundles = tuple([bundle for bundle in bundles if await _is_readable(bundle)])
        watches = (Watch(cluster, bundle.resource, bundle, metrics.record_watch_restart).run for bundle in bundles)
        return _Certificates(mounted_certificates(settings), bundles, background=tuple(watches))
    secret = CertSecret(cluster, settings.pod_namespace, settings.cert_secret, wakeup.notify)
    source = SecretSource(
        secret,
        bundles,
        _names(settings.webhook_service, settings.pod_namespace),
        Lifetimes(settings.ca_lifetime, settings.cert_lifetime),
        wakeup,
        metrics.record_rotation,
        clock,
    )
    metrics.observe_certificate("ca", lambda: source.ca_expires)
    return _Certificates(
        source,
        bundles,
        before_serving=(source.load_first,),
        background=(
            Watch(cluster, secret.resource, secret, metrics.record_watch_restart).run,
            *(Watch(cluster, bundle.resource, bundle, metrics.record_watch_restart).run for bundle in bundles),
        ),
        until_draining=(source.run, *_rollback_preparation(settings, cluster, source)),
        failure=lambda: source.failure,
    )


def _rollback_preparation(settings: Settings, cluster: Cluster, source: SecretSource) -> tuple[BackgroundTask, ...]:
    if not settings.upstream_cert_secret:
        return ()
    secret = UpstreamSecret(cluster, settings.pod_namespace, settings.upstream_cert_secret)
    return (lambda: secret.prepare_rollback(lambda: source.trusted),)


def _names(service: str, namespace: str) -> tuple[str, ...]:
    """The DNS names of the Service: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/."""
    return (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", f"{service}.{namespace}", service)


async def _is_readable(bundle: CaBundle) -> bool:
    """Whether a caBundle that another program writes can be watched: then readiness checks that it fits."""
    try:
        await bundle.load()
    except CertificateError as error:
        log.info("%s; until then its caBundle is not checked", error)
        return False
    except ClusterUnavailableError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class _MappingWatches:
    before_serving: tuple[Callable[[], Awaitable[None]], ...] = ()
    background: tuple[BackgroundTask, ...] = ()


def _mapping_watches(
    settings: Settings, cluster: Cluster, events: Events, policy: CurrentPolicy, metrics: Metrics
) -> _MappingWatches:
    if not settings.identity_mapping_configmap:
        return _MappingWatches()
    from webhook.runtime.mapping_watch import MappingWatch  # noqa: PLC0415  it loads a reader of YAML

    place = (settings.pod_namespace, settings.identity_mapping_configmap)
    mapping = MappingWatch(cluster, events, place, policy.set_mapping, metrics.record_mapping)
    watch = Watch(cluster, mapping.resource, mapping, metrics.record_watch_restart)
    return _MappingWatches((mapping.load,), (watch.run,))
