"""The report: findings for people and for machines, the worst first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from azwi.commands.doctor.checks import azure, certificates, mapping, pods, webhook, workloads
from azwi.commands.doctor.findings import Finding, Severity, Unseen
from azwi.commands.doctor.snapshot import Snapshot
from azwi.console.dry_run import Planned
from azwi.console.printable import printable

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
    return sorted(found, key=lambda each: each.severity is not Severity.ERROR)


def document(
    findings: Sequence[Finding], unseen: Sequence[Unseen], planned: Sequence[Planned] | None = None
) -> Mapping[str, Any]:
    """As machines get it; `planned` is what --restart would send, None where that is not asked."""
    requests = {} if planned is None else {"requests": [each.document() for each in planned]}
    return {
        "findings": [each.document() for each in findings],
        "notLookedAt": [{"what": each.what, "why": each.why} for each in unseen],
        **requests,
    }


def text(findings: Sequence[Finding], unseen: Sequence[Unseen], planned: Sequence[Planned] | None = None) -> str:
    """As people get it."""
    lines = [line for each in findings for line in (*_told(each), "")]
    if unseen:
        lines += ["Not looked at:", *(f"  {printable(f'{each.what}: {each.why}')}" for each in unseen), ""]
    if planned is not None:
        lines += [*(each.text() for each in planned), ""] if planned else ["Nothing to restart.", ""]
    return "\n".join([*lines, _summary(findings)])


def _told(each: Finding) -> Iterator[str]:
    yield printable(f"{each.severity}: {each.subject}: {each.what} ({each.code})")
    for seen in each.evidence:
        yield printable(f"  seen: {seen}")
    yield printable(f"  mend: {each.command}")


def _summary(findings: Sequence[Finding]) -> str:
    errors = sum(each.severity is Severity.ERROR for each in findings)
    warnings = len(findings) - errors
    if not findings:
        return "No problem found."
    return f"{_counted(errors, 'error')}, {_counted(warnings, 'warning')}."


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
