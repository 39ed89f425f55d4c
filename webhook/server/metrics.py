"""What Prometheus is told. Every label has a fixed set of values: no namespace, no pod."""

import platform
from collections.abc import Iterable
from functools import cache
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, disable_created_metrics, generate_latest
from prometheus_client.process_collector import ProcessCollector

from webhook import __version__
from webhook.admission.reasons import Warn

# The buckets of v1.6.0, in seconds, so that its dashboards go on working.
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
        admissions = Counter(
            "azwi_admissions",
            "Admissions by decision (mutate, skip, refuse, error) and reason",
            ["decision", "reason"],
            registry=self.registry,
        )
        warnings = Counter(
            "azwi_admission_warnings", "Warnings given to authors of pods, by code", ["code"], registry=self.registry
        )
        build = Info("azwi_build", "The version that runs", registry=self.registry)
        build.info({"version": __version__, "python": platform.python_version()})
        self._latency = requests.labels(service_name="webhook")
        # Looking a child up by its labels costs more than counting; the sets are small.
        self._admissions = cache(admissions.labels)
        self._warnings = cache(warnings.labels)

    def admitted(self, decision: str, reason: str, seconds: float, warnings: Iterable[Warn] = ()) -> None:
        """Count one admission."""
        self._latency.observe(seconds)
        self._admissions(decision, reason).inc()
        for warning in warnings:
            self._warnings(warning.code).inc()

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
