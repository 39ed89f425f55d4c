"""The report: findings for people and for machines, the worst first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from azwi_cli.commands.doctor.checks import azure, certificates, mapping, pods, webhook, workloads
from azwi_cli.commands.doctor.findings import Finding, Severity, Unreadable
from azwi_cli.commands.doctor.snapshot import Snapshot
from azwi_cli.console.dry_run import Planned
from azwi_cli.console.printable import printable

Check = Callable[[Snapshot], Iterator[Finding]]
CHECKS: Final[tuple[Check, ...]] = (
    *webhook.CHECKS,
    *certificates.CHECKS,
    *mapping.CHECKS,
    *workloads.CHECKS,
    *pods.CHECKS,
    *azure.CHECKS,
)


def examine(snapshot: Snapshot) -> list[Finding]:
    """All findings, errors first; otherwise in the order in which a pod meets them."""
    found = [finding for check in CHECKS for finding in check(snapshot)]
    return sorted(found, key=lambda finding: finding.severity is not Severity.ERROR)


def document(
    findings: Sequence[Finding], unreadable: Sequence[Unreadable], planned: Sequence[Planned] | None = None
) -> Mapping[str, Any]:
    """As machines get it; `planned` is what --restart would send, None where that is not asked."""
    requests = {} if planned is None else {"requests": [request.document() for request in planned]}
    return {
        "findings": [finding.document() for finding in findings],
        "notLookedAt": [{"what": gap.what, "why": gap.why} for gap in unreadable],
        **requests,
    }


def text(
    findings: Sequence[Finding], unreadable: Sequence[Unreadable], planned: Sequence[Planned] | None = None
) -> str:
    """As people get it."""
    lines = [line for finding in findings for line in (*_told(finding), "")]
    if unreadable:
        lines += ["Not looked at:", *(f"  {printable(f'{gap.what}: {gap.why}')}" for gap in unreadable), ""]
    if planned is not None:
        lines += [*(request.text() for request in planned), ""] if planned else ["Nothing to restart.", ""]
    return "\n".join([*lines, _summary(findings)])


def _told(finding: Finding) -> Iterator[str]:
    yield printable(f"{finding.severity}: {finding.subject}: {finding.what} ({finding.code})")
    for seen in finding.evidence:
        yield printable(f"  seen: {seen}")
    yield printable(f"  fix: {finding.fix}")


def _summary(findings: Sequence[Finding]) -> str:
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = len(findings) - errors
    if not findings:
        return "No problem found."
    return f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}."


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
