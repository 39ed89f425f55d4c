"""The report: what was checked and found, and how it ended."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from azwi_cli.commands.doctor.checks import (
    accounts,
    audiences,
    azure,
    bindings,
    calls,
    certificates,
    clock,
    engine,
    images,
    limits,
    mapping,
    pods,
    servers,
    spelling,
    webhook,
    workloads,
)
from azwi_cli.commands.doctor.checks.check import Check, CheckResult, run
from azwi_cli.commands.doctor.findings import Area, Finding, Severity, Unreadable
from azwi_cli.commands.doctor.snapshot import Snapshot
from azwi_cli.console import errors
from azwi_cli.console.dry_run import Planned

# In the order in which they are made and shown: those of a group follow each other. A new module is a line here.
CHECKS: Final[tuple[Check, ...]] = (
    *webhook.CHECKS,
    *engine.CHECKS,
    *servers.CHECKS,
    *calls.CHECKS,
    *certificates.CHECKS,
    *mapping.CHECKS,
    *accounts.CHECKS,
    *spelling.CHECKS,
    *workloads.CHECKS,
    *limits.CHECKS,
    *bindings.CHECKS,
    *audiences.CHECKS,
    *images.CHECKS,
    *pods.CHECKS,
    *azure.CHECKS,
    *clock.CHECKS,
)
# Without these nobody can say that all is well; of the webhook, either its configuration or a call shows enough.
ESSENTIAL: Final = (frozenset({Area.WEBHOOKS, Area.CALL}), frozenset({Area.ACCOUNTS}), frozenset({Area.WORKLOADS}))


class Outcome(StrEnum):
    """How it all ended. `unknown`: nothing wrong was seen, and what matters could not be looked at."""

    OK = "ok"
    PROBLEMS = "problems"
    UNKNOWN = "unknown"


_STATUS: Final = {
    Outcome.OK: errors.Status.DONE,
    Outcome.PROBLEMS: errors.Status.FAILED,
    Outcome.UNKNOWN: errors.Status.UNKNOWN,
}


@dataclass(frozen=True, slots=True)
class Report:
    """The results of the checks, and all that could not be read. `essential`: a gap leaves the outcome unknown."""

    results: Sequence[CheckResult]
    unreadable: Sequence[Unreadable] = ()
    essential: Sequence[frozenset[Area]] = ESSENTIAL

    @property
    def findings(self) -> list[Finding]:
        """All findings, errors first; otherwise in the order in which a pod meets them."""
        found = [finding for result in self.results for finding in result.findings]
        return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)

    @property
    def outcome(self) -> Outcome:
        """How it ended; warnings are no problems."""
        if any(finding.severity is Severity.ERROR for finding in self.findings):
            return Outcome.PROBLEMS
        missing = {gap.area for gap in self.unreadable}
        return Outcome.UNKNOWN if any(areas <= missing for areas in self.essential) else Outcome.OK

    @property
    def status(self) -> errors.Status:
        """The exit status that says so."""
        return _STATUS[self.outcome]


def results(covering: Callable[[frozenset[Area]], Snapshot]) -> Iterator[CheckResult]:
    """Make all checks, each on a snapshot that covers the areas that it reads."""
    for check in CHECKS:
        yield run(check, covering(check.needs | check.uses))


def concluded(made: Sequence[CheckResult], snapshot: Snapshot, *, azure_wanted: bool = False) -> Report:
    """The report of all checks; `azure_wanted` that an Azure which cannot be asked leaves the outcome unknown."""
    wanted = (frozenset({Area.AZURE}),) if azure_wanted else ()
    return Report(made, snapshot.unreadable, (*ESSENTIAL, *wanted))


def unreachable(error: errors.CommandError) -> Report:
    """The report when nothing at all could be looked at."""
    gap = Unreadable("the cluster", error.message, Area.WEBHOOKS, error.hint)
    results = [CheckResult(check.group, check.title, gaps=(gap,)) for check in CHECKS]
    return Report(results, (gap,), (frozenset({Area.WEBHOOKS}),))


def document(report: Report, planned: Sequence[Planned] | None = None) -> Mapping[str, Any]:
    """As machines get it; `planned` is what --restart would send, None where that is not asked."""
    requests = {} if planned is None else {"requests": [request.document() for request in planned]}
    return {
        "outcome": str(report.outcome),
        "checks": [result.document() for result in report.results],
        "findings": [finding.document() for finding in report.findings],
        "notLookedAt": [gap.document() for gap in report.unreadable],
        **requests,
    }
