"""A check: what it looks at, in which group it is shown, and what it found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from azwi_cli.commands.doctor.findings import Area, Finding, Severity, Unreadable
from azwi_cli.commands.doctor.snapshot import Snapshot


class Group(StrEnum):
    """The groups, in the order in which a pod meets what they are about."""

    BEFORE = "before the installation"
    WEBHOOK = "webhook"
    CERTIFICATES = "certificates"
    ACCOUNTS = "accounts"
    WORKLOADS = "workloads"
    AZURE = "azure"


class Status(StrEnum):
    """How a check ended; `unknown`: what it needs could not be read."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """A function from a snapshot to findings; `title` says what holds where there are none.

    Before it is made, the areas in `needs` and `uses` are read. Where one of `needs` could not be read, having found
    nothing is no all-clear.
    """

    group: Group
    title: str
    run: Callable[[Snapshot], Iterator[Finding]]
    needs: frozenset[Area]
    uses: frozenset[Area] = frozenset()


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A check with its findings, and what it needed that could not be read."""

    group: Group
    title: str
    findings: Sequence[Finding] = ()
    gaps: Sequence[Unreadable] = ()

    @property
    def status(self) -> Status:
        """How it ended; a finding counts more than what is missing."""
        if any(finding.severity is Severity.ERROR for finding in self.findings):
            return Status.ERROR
        if self.findings:
            return Status.WARNING
        return Status.UNKNOWN if self.gaps else Status.OK

    def document(self) -> Mapping[str, Any]:
        """As machines get it."""
        return {"group": str(self.group), "title": self.title, "status": str(self.status)}


def run(check: Check, snapshot: Snapshot) -> CheckResult:
    """Make a check on what was read."""
    gaps = tuple(gap for gap in snapshot.unreadable if gap.area in check.needs)
    return CheckResult(check.group, check.title, tuple(check.run(snapshot)), gaps)
