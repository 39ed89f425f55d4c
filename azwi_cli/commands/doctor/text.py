"""The report as people read it: groups of checks, each with a mark and its findings, and a closing sentence."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import click

from azwi_cli.commands.doctor.checks.check import CheckResult, Group, Status
from azwi_cli.commands.doctor.findings import Finding, Severity, link
from azwi_cli.commands.doctor.report import Outcome, Report
from azwi_cli.console.dry_run import Planned
from azwi_cli.console.printable import printable, wrapped

MIN_WIDTH: Final = 30
CONTINUATION: Final = 2
_MARKS: Final = {Status.OK: "\N{SQUARE ROOT}", Status.WARNING: "!", Status.ERROR: "\N{MULTIPLICATION SIGN}"}
_COLOURS: Final = {Status.OK: "green", Status.WARNING: "yellow", Status.ERROR: "red", Status.UNKNOWN: "cyan"}
_SEVERITIES: Final = {Severity.ERROR: Status.ERROR, Severity.WARNING: Status.WARNING}
_OUTCOMES: Final = {Outcome.OK: Status.OK, Outcome.PROBLEMS: Status.ERROR, Outcome.UNKNOWN: Status.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Style:
    """How people get it: in colour, wrapped at `width` columns (0: not), findings only, with ASCII marks only."""

    colour: bool = False
    width: int = 0
    quiet: bool = False
    ascii: bool = False

    def mark(self, status: Status) -> str:
        """The mark of a status."""
        text = _MARKS.get(status, "?")
        if self.ascii and not text.isascii():
            text = "ok" if status is Status.OK else "x"
        return self.coloured(text, status)

    def coloured(self, text: str, status: Status) -> str:
        """A text in the colour of a status."""
        return click.style(text, fg=_COLOURS[status], bold=True) if self.colour else text

    def heading(self, text: str) -> str:
        """The heading of a group."""
        return click.style(text, bold=True) if self.colour else text

    def wrapped(self, text: str, indent: str, mark: str = "") -> Iterator[str]:
        """A text that is safe to print, in lines; `mark` is before the first, the others are a little more indented."""
        room = max(self.width, MIN_WIDTH) - len(indent) - CONTINUATION if self.width else 0
        first, *more = wrapped(printable(text), room)
        yield indent + mark + first
        yield from (indent + " " * CONTINUATION + line for line in more)


def text(report: Report, style: Style, planned: Sequence[Planned] | None = None) -> str:
    """As people get it."""
    return "\n".join([*result_lines(report.results, style), *closing_lines(report, style, planned)])


def result_lines(results: Iterable[CheckResult], style: Style) -> Iterator[str]:
    """A line for each check, and what it found; those of a check are yielded before the next result is asked for.

    The results of a group follow each other.
    """
    group: Group | None = None
    for result in results:
        if style.quiet and not result.findings:
            continue
        if result.group is not group:
            if group is not None:
                yield ""
            group = result.group
            yield style.heading(group)
        yield from style.wrapped(f"{result.title}{_missing(result)}", "  ", f"{style.mark(result.status)} ")
        for finding in result.findings:
            yield from _finding_lines(finding, style)
    if group is not None:
        yield ""


def _missing(result: CheckResult) -> str:
    """What could not be looked at, if that is why the check was not made."""
    if result.status is not Status.UNKNOWN:
        return ""
    what = result.gaps[0].what
    return " (not checked)" if what == result.title else f" (not checked: {what})"


def _finding_lines(finding: Finding, style: Style) -> Iterator[str]:
    severity = str(finding.severity)
    lines = style.wrapped(f"{severity}: {finding.subject}: {finding.what} ({finding.code})", "      ")
    yield next(lines).replace(severity, style.coloured(severity, _SEVERITIES[finding.severity]), 1)
    yield from lines
    for seen in finding.evidence:
        yield from style.wrapped(f"seen: {seen}", "        ")
    yield printable(f"        fix: {finding.fix}")  # in one line, to be pasted
    yield from style.wrapped(f"see: {link(finding.code)}", "        ")


def closing_lines(report: Report, style: Style, planned: Sequence[Planned] | None = None) -> Iterator[str]:
    """What could not be looked at, what --restart would send, and the summary."""
    if report.unreadable and not (style.quiet and report.outcome is not Outcome.UNKNOWN):
        yield style.heading("Not looked at:")
        for gap in report.unreadable:
            yield from style.wrapped(f"{gap.what}: {gap.why}", "  ")
            if gap.needs:
                yield from style.wrapped(f"needs: {gap.needs}", "    ")
        yield ""
    if planned is not None:
        yield from (*(request.text() for request in planned), "") if planned else ("Nothing to restart.", "")
    yield from (style.coloured(line, _OUTCOMES[report.outcome]) for line in style.wrapped(summary(report), ""))


def summary(report: Report) -> str:
    """The outcome in a sentence: it never says that all is well where that is not known."""
    findings = report.findings
    severe = sum(finding.severity is Severity.ERROR for finding in findings)
    passed = sum(result.status is Status.OK for result in report.results)
    missing = sum(result.status is Status.UNKNOWN for result in report.results)
    left = f"; {_counted(missing, 'check')} could not be made" if missing else ""
    if report.outcome is Outcome.UNKNOWN:
        return f"Could not look: {_counted(missing, 'check')} could not be made, {passed} passed. This is no all-clear."
    if findings:
        return f"{_counted(severe, 'error')}, {_counted(len(findings) - severe, 'warning')}{left}."
    return f"No problem found by {_counted(passed, 'check')}{left}."


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
