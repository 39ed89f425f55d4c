"""Writes docs/reference/entra-errors.md from the code: `python -m scripts.write_entra_errors [--check]`."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from azure_workload_identity.entra import MEANINGS, Kind
from azwi_cli.explanations.entra import ADVICE
from scripts.write_explanations import entry

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "entra-errors.md"
HEAD: Final = """# Errors of Microsoft Entra

`azwi token exchange` and the proxy print these explanations with the error that Entra returns, and `azwi explain CODE`
prints causes and fix, too, without a network. Look for the number after `AADSTS`; for messages of SDKs and of
Kubernetes see [faq.md](../operate/faq.md). Generated from the code by `make docs`.

Retry says whether the same request can succeed later without a change.

## Codes

"""
RETRY: Final = {
    Kind.PERMANENT: "no",
    Kind.PROPAGATING: "for some minutes after a change",
    Kind.THROTTLED: "later",
    Kind.OUTAGE: "yes",
}


def page() -> str:
    """Return the whole page, sorted by code."""
    lines = [line for code in sorted(MEANINGS) for line in _entry(code)]
    return HEAD + "\n".join(lines[:-1]) + "\n"


def _entry(code: int) -> Iterable[str]:
    meaning, advice = MEANINGS[code], ADVICE[code]
    return entry(
        f"AADSTS{code}", Symptom=meaning.remedy, Cause=advice.causes, Fix=advice.fix, Retry=RETRY[meaning.kind]
    )


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE} is not up to date: run make docs")
    PAGE.write_text(page())
