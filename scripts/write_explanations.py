"""Writes the lists of codes in the manual from the explanations: `python -m scripts.write_explanations [--check]`."""

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from azwi_cli.explanations.decisions import REASONS, WARNINGS
from azwi_cli.explanations.findings import FINDINGS

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"
BEGIN: Final = "<!-- {}: begin; make docs -->\n"
END: Final = "<!-- {}: end -->\n"


def entry(heading: str, **said: str | tuple[str, ...]) -> Iterable[str]:
    """Yield one code's section: a heading, which is its anchor, and an item for all that there is to say.

    A tuple of more than one text, such as causes of which one is the case, becomes a list below its item.
    """
    yield f"### {heading}"
    yield ""
    for name, text in said.items():
        texts = (text,) if isinstance(text, str) else text
        if len(texts) == 1:
            yield f"- **{name}**: {texts[0]}"
        elif texts:
            yield f"- **{name}**:"
            yield from (f"    - {item}" for item in texts)
    yield ""


def _reasons() -> Iterable[str]:
    yield ""
    for row in REASONS:
        yield from entry(row.code, Decision=row.note, Symptom=row.meaning, Cause=row.causes, Fix=row.fix)


def _warnings() -> Iterable[str]:
    yield ""
    for row in WARNINGS:
        yield from entry(row.code, Symptom=row.meaning, Cause=row.causes, Fix=row.fix)


def _findings() -> Iterable[str]:
    yield ""
    for row in FINDINGS:
        yield from entry(row.code, Severity=row.severity, Symptom=row.meaning, Cause=row.causes, Fix=row.command)


LISTS: Final[tuple[tuple[Path, str, Callable[[], Iterable[str]]], ...]] = (
    (DOCS / "reference" / "decisions.md", "reasons", _reasons),
    (DOCS / "reference" / "decisions.md", "warnings", _warnings),
    (DOCS / "operate" / "doctor.md", "findings", _findings),
)


def written(page: str, name: str, section: Iterable[str]) -> str:
    """Return a page with the list of that name replaced."""
    begin, end = BEGIN.format(name), END.format(name)
    before, _, rest = page.partition(begin)
    after = rest.partition(end)[2]
    return before + begin + "".join(f"{line}\n" for line in section) + end + after


if __name__ == "__main__":
    for file, name, section in LISTS:
        now = file.read_text()
        page = written(now, name, section())
        if page != now and "--check" in sys.argv:
            sys.exit(f"{file} is not up to date: run make docs")
        file.write_text(page)
