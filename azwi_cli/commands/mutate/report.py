"""What `azwi mutate` prints: documents, patches, diffs, decisions."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import click

from azure_workload_identity.kube_yaml import marked
from azure_workload_identity.types import JsonObject
from azwi_cli.console import output, terminal
from azwi_cli.console.output import OutputFormat
from azwi_cli.console.printable import printable, wrapped
from azwi_cli.offline.admissions import Admission, MutatedDocument
from webhook.admission.review import Decision


class MutateOutput(StrEnum):
    """The forms of output: the mutated manifests in two forms, their patches, a diff; or the decisions."""

    YAML = "yaml"
    JSON = "json"
    PATCH = "patch"
    DIFF = "diff"
    TABLE = "table"


DECISION_FORMATS: Final = {
    MutateOutput.TABLE: OutputFormat.TABLE,
    MutateOutput.YAML: OutputFormat.YAML,
    MutateOutput.JSON: OutputFormat.JSON,
}
_HEADINGS: Final = ("workload", "service account", "decision", "reason")
_MIN_COLUMNS: Final = 20
_INDENT: Final = "  "
_DECISION: Final = "DECISION"
_DECISIONS: Final = {Decision.MUTATE: "green", Decision.SKIP: "cyan", Decision.REFUSE: "red"}
_REMARKS: Final = {
    "note:": "cyan",
    "binding:": "cyan",
    "engine:": "cyan",
    "differs:": "yellow",
    "refused:": "red",
    "warning:": "yellow",
}


def manifests(results: Sequence[MutatedDocument], form: MutateOutput, *, colour: bool = False) -> str:
    """The mutated documents, or their patches. The patch of a single document is a bare list of operations."""
    if form is MutateOutput.PATCH:
        single = len(results) == 1
        patches = list(results[0].operations) if single else [_patch(result) for result in results if result.operations]
        return json.dumps(patches, indent=2) + "\n"
    if form is MutateOutput.JSON:
        documents = [result.after() for result in results]
        whole = documents[0] if len(documents) == 1 else {"apiVersion": "v1", "kind": "List", "items": documents}
        return json.dumps(whole, indent=2) + "\n"
    if form is MutateOutput.DIFF:
        return (
            "\n---\n".join(marked.rendered(result.before, result.after(), colour=colour) for result in results) + "\n"
        )
    return output.as_documents(result.after() for result in results)


def decisions(admissions: Sequence[Admission]) -> str:
    """The decisions for people: a row each with its warnings below; a block each where the terminal is too narrow."""
    paint = _Paint(on=terminal.coloured(sys.stdout))
    columns = terminal.width(sys.stdout)
    room = max(columns - len(_INDENT), _MIN_COLUMNS) if columns else 0
    rows = [
        (
            str(admission.template),
            admission.outcome.service_account,
            admission.outcome.decision,
            admission.outcome.reason,
        )
        for admission in admissions
    ]
    heading, *found = output.table_lines(_HEADINGS, rows)
    lines = [*heading]
    for row, admission in zip(found, admissions, strict=True):
        lines += [""] if lines and not heading else []
        lines += paint.decision(row, admission.outcome.decision, heading)
        for remark in _remarks(admission):
            text = wrapped(printable(remark), room, _INDENT)
            lines += (f"{_INDENT}{line}" for line in paint.remark(text))
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class _Paint:
    """Colours the decisions and what they come with, on a terminal that wants it."""

    on: bool

    def decision(self, row: Sequence[str], decision: Decision, heading: Sequence[str]) -> Iterator[str]:
        """The lines of a row with its decision, which is below its heading or, in a block of lines, behind it."""
        start = heading[0].index(_DECISION) if heading else len(f"{_DECISION}: ")
        for number, line in enumerate(row):
            if line.startswith(_DECISION) if not heading else number == 0:
                end = start + len(decision)
                yield line[:start] + self._styled(line[start:end], _DECISIONS[decision]) + line[end:]
            else:
                yield line

    def remark(self, lines: Sequence[str]) -> Iterator[str]:
        """The label of a remark in its first line."""
        label, _, text = lines[0].partition(" ")
        yield " ".join([self._styled(label, _REMARKS[label]), text])
        yield from lines[1:]

    def _styled(self, text: str, colour: str) -> str:
        return click.style(text, fg=colour, bold=True) if self.on else text


def _remarks(admission: Admission) -> Iterator[str]:
    if admission.template.assumption:
        yield f"note: {admission.template.assumption}"
    if admission.outcome.message:
        yield f"refused: {admission.outcome.message}"
    if admission.binding:
        yield f"binding: {admission.binding}"
    if admission.engine:
        yield f"engine: {admission.engine.decider}"
        for difference in admission.engine.differences:
            yield f"differs: {difference}"
    for problem in admission.limit_problems:
        yield f"warning: {problem}"
    for warning in admission.outcome.warnings:
        yield f"warning: {warning.text} ({warning.code})"


def _patch(result: MutatedDocument) -> JsonObject:
    metadata = result.before.get("metadata") or {}
    named = {key: metadata[key] for key in ("namespace", "name") if key in metadata}
    return {"kind": result.before["kind"], **named, "patch": list(result.operations)}
