"""Writes the tables of codes in the manual from the explanations: `python -m scripts.write_explanations [--check]`."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from azwi_cli.explanations.decisions import REASONS, WARNINGS, Row
from azwi_cli.explanations.findings import FINDINGS

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
BEGIN: Final = "<!-- {}: begin; make docs -->\n"
END: Final = "<!-- {}: end -->\n"


def _reasons() -> Iterable[str]:
    yield "| Decision | Reason | Means | Most likely causes | Do |"
    yield "|---|---|---|---|---|"
    for row in REASONS:
        yield f"| {row.note} | `{row.code}` | {_cells(row)} |"


def _warnings() -> Iterable[str]:
    yield "| Code | Means | Most likely causes | Do |"
    yield "|---|---|---|---|"
    for row in WARNINGS:
        yield f"| `{row.code}` | {_cells(row)} |"


def _findings() -> Iterable[str]:
    yield "| Code | Severity | Means | Most likely causes | Command |"
    yield "|---|---|---|---|---|"
    for row in FINDINGS:
        cells = [
            f'<a id="{row.code}"></a>`{row.code}`',
            row.severity,
            row.meaning,
            "<br>".join(row.causes),
            row.command,
        ]
        yield f"| {' | '.join(cells)} |"


def _cells(row: Row) -> str:
    return " | ".join([row.meaning, "<br>".join(row.causes), "<br>".join(row.fix)])


TABLES: Final[tuple[tuple[Path, str, Callable[[], Iterable[str]]], ...]] = (
    (DOCS / "reference" / "decisions.md", "reasons", _reasons),
    (DOCS / "reference" / "decisions.md", "warnings", _warnings),
    (DOCS / "operate" / "doctor.md", "findings", _findings),
)


def written(page: str, name: str, table: Iterable[str]) -> str:
    """Return a page with the table of that name replaced."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    return before + begin + "".join(f"{line}\n" for line in table) + end + after


if __name__ == "__main__":
    for file, name, table in TABLES:
        now = file.read_text()
        page = written(now, name, table())
        if page != now and "--check" in sys.argv:
            sys.exit(f"{file} is not up to date: run make docs")
        file.write_text(page)
