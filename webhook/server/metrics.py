"""Prometheus metrics. Every label has a fixed set of values: no namespace, no pod."""

import platform
from collections.abc import Callable, Iterable
from functools import cache
from math import nan
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.process_collector import ProcessCollector

from azure_workload_identity import __version__
from webhook.admission.reasons import AdmissionWarning, Reason, WarningCode
from webhook.admission.review import Decision

# The buckets of v1.6.0, in seconds, so that its dashboards keep working.
BUCKETS: Final = (
    *(n / 1000 for n in range(1, 10)),
    *(n / 100 for n in range(1, 10)),
    *(n / 10 for n in range(1, 10)),
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
)
ERROR: Final = "error"
ERROR_CODES: Final = (
    "accounts-unavailable",
    "overloaded",
    "internal-error",
    "broken-review",
    "not-json",
    "wrong-content-type",
    "body-too-large",
    "slow-body",
    "client-gone",
)
_MUTATED: Final = frozenset({Reason.INJECTED, Reason.ALREADY_INJECTED})
_SKIPPED: Final = frozenset(
    {
        Reason.NOT_A_POD,
        Reason.NOT_CREATE,
        Reason.NOT_OPTED_IN,
        Reason.OPTED_OUT,
        Reason.NO_CONTAINERS,
        Reason.MIRROR_POD,
    }
)


class Metrics:
    """The metrics of one server, in a registry of their own."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        requests = Histogram(
            "azwi_mutation_request",
            "Distribution of how long the mutation took in seconds",
            ["service_name"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        admissions = self._counter(
            "azwi_admissions", "Admissions by decision (mutate, skip, refuse, error) and reason", "decision", "reason"
        )
        warnings = self._counter("azwi_admission_warnings", "Warnings returned to authors of pods, by code", "code")
        self._live_reads = self._counter(
            "azwi_live_reads",
            "ServiceAccounts read because the cache did not have them: found, missing, failed",
            "result",
        )
        self._restarts = self._counter(
            "azwi_watch_restarts", "Watches that restarted, by resource and reason", "resource", "reason"
        )
        self._rotations = self._counter(
            "azwi_certificate_rotations",
            "Steps of the certificates' rotation: created, healed, announced, promoted, renewed, retired",
            "phase",
        )
        self._patches = self._counter("azwi_ca_bundle_patches", "Times a caBundle was written")
        self._crashes = self._gauge("azwi_server_crashes", "Servers of this container that a signal ended")
        self._mapping = self._gauge("azwi_mapping_entries", "Entries of the identity mapping in force")
        self._faults = self._gauge("azwi_mapping_errors", "Entries of the identity mapping that cannot be used")
        self._cached = self._gauge("azwi_accounts_cached", "ServiceAccounts with a client id in the cache")
        self._staleness = self._gauge(
            "azwi_accounts_staleness_seconds",
            "Since the cache last had all that the API server has; NaN before the first list is complete",
        )
        self._expiry = self._gauge(
            "azwi_certificate_expiry_timestamp_seconds", "When the serving certificate and its CA end", "certificate"
        )
        self._closed = self._counter(
            "azwi_connections_closed", "Connections that the server closed, by port and reason", "port", "reason"
        )
        build = Info("azwi_build", "The version that runs", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._latency = requests.labels(service_name="webhook")
        # Looking up a child by its labels costs more than counting; the sets of labels are small.
        self._admissions, self._warnings = cache(admissions.labels), cache(warnings.labels)
        self._start_at_zero()

    def _start_at_zero(self) -> None:
        """Create every counter: one that appears with its first event has no increase, and alerts would miss that."""
        for reason in Reason:
            self._admissions(_decision(reason), reason)
        for code in ERROR_CODES:
            self._admissions(ERROR, code)
        for code in WarningCode:
            self._warnings(code)
        for result in ("found", "missing", "failed"):
            self._live_reads.labels(result)
        for phase in ("created", "healed", "announced", "promoted", "renewed", "retired"):
            self._rotations.labels(phase)

    def record_admission(
        self, decision: str, reason: str, seconds: float, warnings: Iterable[AdmissionWarning] = ()
    ) -> None:
        """Count one admission."""
        self._latency.observe(seconds)
        self._admissions(decision, reason).inc()
        for warning in warnings:
            self._warnings(warning.code).inc()

    def record_live_read(self, result: str) -> None:
        """Count a live read of a ServiceAccount: found, missing or failed."""
        self._live_reads.labels(result).inc()

    def record_watch_restart(self, resource: str, reason: str) -> None:
        """Count a watch that restarted."""
        self._restarts.labels(resource, reason).inc()

    def record_rotation(self, phase: str) -> None:
        """Count a step of the certificates' rotation."""
        self._rotations.labels(phase).inc()

    def record_ca_bundle_patch(self) -> None:
        """Count a caBundle that was written."""
        self._patches.inc()

    def record_crash(self) -> None:
        """Report that this server replaces one that a signal killed."""
        self._crashes.set(1)

    def record_mapping(self, entries: int, faults: int) -> None:
        """Report how many entries the identity mapping has, and how many cannot be used."""
        self._mapping.set(entries)
        self._faults.set(faults)

    def record_closed_connection(self, port: str, reason: str) -> None:
        """Count a connection that the server closed for a bound of webhook.server.connections."""
        self._closed.labels(port, reason).inc()

    def observe_accounts(self, size: Callable[[], int], staleness: Callable[[], float | None]) -> None:
        """Call these at each scrape for the cache's size and the seconds since its watch was last current."""
        self._cached.set_function(size)
        self._staleness.set_function(lambda: _number(staleness()))

    def observe_certificate(self, certificate: str, ends: Callable[[], float | None]) -> None:
        """Call `ends` at each scrape for the end of a certificate (serving, ca), in seconds since 1970."""
        self._expiry.labels(certificate).set_function(lambda: _number(ends()))

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)


def _decision(reason: Reason) -> Decision:
    if reason in _MUTATED:
        return Decision.MUTATE
    return Decision.SKIP if reason in _SKIPPED else Decision.REFUSE


def _number(value: float | None) -> float:
    return nan if value is None else value
