"""The parts of a server in a cluster."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from azure_workload_identity.cluster.client import DENIED, Cluster, ClusterUnavailableError
from azure_workload_identity.cluster.events import Events, Subject
from azure_workload_identity.cluster.retry import patiently
from azure_workload_identity.cluster.watch import Watch
from certs.ca_bundle import CaBundle
from certs.rotation import Lifetimes, SecretSource, Wakeup
from certs.secret import CertSecret
from certs.source import CertificateError, Source
from webhook.accounts.cluster import SERVICE_ACCOUNTS, AccountCache, ClusterAccounts
from webhook.admission.identity import IdentityMapping
from webhook.config.settings import Settings
from webhook.runtime.components import Parts, Run, StartError, mounted
from webhook.runtime.current_policy import Current
from webhook.runtime.mapping_watch import MappingFollower
from webhook.server.metrics import Metrics
from webhook.server.readiness import Readiness

# A cluster is upgraded a few times a year.
VERSION_SECONDS: Final = 600.0

log = logging.getLogger(__name__)


async def prepare_cluster(settings: Settings, mapped: IdentityMapping) -> Parts:
    """The parts, as far as they can be made without waiting for the API server.

    Raises:
        StartError, ValueError, CertificateError: with what to do.
    """
    cluster = await Cluster.connect(settings.kubeconfig)
    try:
        return await _parts(settings, mapped, cluster)
    except BaseException:
        await cluster.close()
        raise


async def _parts(settings: Settings, mapped: IdentityMapping, cluster: Cluster) -> Parts:
    version = await cluster.version()
    if version is None:
        log.warning("the cluster's version cannot be read; until it can, the cluster is taken for a new one")
    metrics, current = Metrics(), Current(settings, mapped, version)
    events = Events(cluster, settings.pod_namespace)
    cache = AccountCache()
    accounts = ClusterAccounts(cluster, cache, metrics.live_read)
    watch = Watch(cluster, SERVICE_ACCOUNTS, cache, metrics.watch_restarted)
    metrics.watch_accounts(cache.__len__, lambda: watch.silence)
    certificates = await _certificates(settings, cluster, metrics)
    mapping = _mapping(settings, cluster, events, current, metrics)

    async def first() -> None:
        access = patiently(lambda: _check_access(cluster), StartError)
        await asyncio.gather(access, *(begin() for begin in (*certificates.first, *mapping.first)))

    async def near_expiry(note: str) -> None:
        await events.warn(Subject("Secret", settings.cert_secret), "CertificateExpiring", note)

    async def close() -> None:
        await accounts.close()
        await cluster.close()

    return Parts(
        accounts,
        current,
        certificates.source,
        metrics,
        readiness=Readiness(certificates.bundles, bundles_required=settings.self_managed),
        first=first,
        background=(watch.run, lambda: _follow_version(cluster, current), *certificates.runs, *mapping.runs),
        near_expiry=near_expiry,
        close=close,
    )


async def _check_access(cluster: Cluster) -> None:
    """Find out whether ServiceAccounts may be read; without, no pod would ever get an identity.

    Raises:
        StartError: when they may not.
    """
    try:
        answer = await cluster.get(SERVICE_ACCOUNTS.url(limit=1), SERVICE_ACCOUNTS.accept("PartialObjectMetadataList"))
    except ClusterUnavailableError:
        return  # it is away, which the watch tells; whatever can be served meanwhile is
    if answer.status in DENIED:
        raise StartError(
            f"the API server does not let the webhook list ServiceAccounts (HTTP {answer.status}): "
            "grant its ServiceAccount get, list and watch on serviceaccounts by a ClusterRole"
        )


async def _follow_version(cluster: Cluster, current: Current) -> None:
    while True:
        await asyncio.sleep(VERSION_SECONDS if current.version else 1.0)
        version = await cluster.version()
        if version is not None:
            current.learn_version(version)


@dataclass(frozen=True, slots=True)
class _Certificates:
    source: Source
    bundles: tuple[CaBundle, ...] = ()
    first: tuple[Callable[[], Awaitable[None]], ...] = ()
    runs: tuple[Run, ...] = ()


async def _certificates(settings: Settings, cluster: Cluster, metrics: Metrics) -> _Certificates:
    wakeup = Wakeup()
    bundles = tuple(CaBundle(cluster, name, wakeup.notify, metrics.patched) for name in settings.webhook_configurations)
    if not settings.self_managed:
        bundles = tuple([bundle for bundle in bundles if await _is_readable(bundle)])
        watches = (Watch(cluster, bundle.resource, bundle, metrics.watch_restarted).run for bundle in bundles)
        return _Certificates(mounted(settings), bundles, runs=tuple(watches))
    secret = CertSecret(cluster, settings.pod_namespace, settings.cert_secret, wakeup.notify)
    source = SecretSource(
        secret,
        bundles,
        _names(settings.webhook_service, settings.pod_namespace),
        Lifetimes(settings.ca_lifetime, settings.cert_lifetime),
        wakeup,
        metrics.rotated,
    )
    metrics.watch_certificate("ca", lambda: source.ca_expires)
    return _Certificates(
        source,
        bundles,
        (source.load_first,),
        (
            source.run,
            Watch(cluster, secret.resource, secret, metrics.watch_restarted).run,
            *(Watch(cluster, bundle.resource, bundle, metrics.watch_restarted).run for bundle in bundles),
        ),
    )


def _names(service: str, namespace: str) -> tuple[str, ...]:
    """The DNS names of the Service: https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/."""
    return (f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local", f"{service}.{namespace}", service)


async def _is_readable(bundle: CaBundle) -> bool:
    """Whether a caBundle that others write can be watched: if so, readiness checks it."""
    try:
        await bundle.load()
    except CertificateError as error:
        log.info("%s; until then its caBundle is not checked", error)
        return False
    except ClusterUnavailableError:
        return True
    return True


@dataclass(frozen=True, slots=True)
class _Mapping:
    first: tuple[Callable[[], Awaitable[None]], ...] = ()
    runs: tuple[Run, ...] = ()


def _mapping(settings: Settings, cluster: Cluster, events: Events, current: Current, metrics: Metrics) -> _Mapping:
    if not settings.identity_mapping_configmap:
        return _Mapping()
    place = (settings.pod_namespace, settings.identity_mapping_configmap)
    follower = MappingFollower(cluster, events, place, current.learn_mapping, metrics.mapped)
    return _Mapping((follower.first,), (Watch(cluster, follower.resource, follower, metrics.watch_restarted).run,))
