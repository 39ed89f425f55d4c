"""What `azwi mutate` prints: documents, patches, diffs, decisions."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Final

from azure_workload_identity.kube_yaml import marked
from azure_workload_identity.types import JsonObject
from azwi_cli.console import output
from azwi_cli.console.output import OutputFormat
from azwi_cli.console.printable import printable
from azwi_cli.offline.admissions import Admission, MutatedDocument


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
    columns = terminal_columns()
    rows = [
        (
            str(admission.template),
            admission.outcome.service_account,
            admission.outcome.decision,
            admission.outcome.reason,
        )
        for admission in admissions
    ]
    table = output.table(_HEADINGS, rows).splitlines()
    if columns and max(map(len, table)) > columns:
        blocks = (
            [row[0], *(f"  {heading}: {text}" for heading, text in zip(_HEADINGS[1:], row[1:], strict=True) if text)]
            for row in rows
        )
        heads, lines = ["\n".join(map(printable, block)) for block in blocks], []
    else:
        heads, lines = table[1:], table[:1]
    for head, admission in zip(heads, admissions, strict=True):
        lines.append(head)
        lines += (_wrapped(printable(remark), columns) for remark in _remarks(admission))
    return "\n".join(lines)


def terminal_columns() -> int:
    """The width of the terminal at stdout; 0 where there is none, and nothing is wrapped."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else 0


def _wrapped(text: str, columns: int) -> str:
    if not columns:
        return f"  {text}"
    width = max(columns, _MIN_COLUMNS)
    wrapper = textwrap.TextWrapper(width, initial_indent="  ", subsequent_indent="    ")
    wrapper.break_on_hyphens = wrapper.break_long_words = False  # names can be copied
    return wrapper.fill(text)


def _remarks(admission: Admission) -> Iterator[str]:
    if admission.template.assumption:
        yield f"note: {admission.template.assumption}"
    if admission.outcome.message:
        yield f"refused: {admission.outcome.message}"
    for problem in admission.limit_problems:
        yield f"warning: {problem}"
    for warning in admission.outcome.warnings:
        yield f"warning: {warning.text} ({warning.code})"


def _patch(result: MutatedDocument) -> JsonObject:
    metadata = result.before.get("metadata") or {}
    named = {key: metadata[key] for key in ("namespace", "name") if key in metadata}
    return {"kind": result.before["kind"], **named, "patch": list(result.operations)}
