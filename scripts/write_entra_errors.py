"""Writes docs/reference/entra-errors.md from the code: `python -m scripts.write_entra_errors [--check]`."""

import sys
from pathlib import Path
from typing import Final

from azure_workload_identity.entra import MEANINGS, Kind

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "entra-errors.md"
HEAD: Final = """# Errors of Microsoft Entra

`azwi token exchange` and the proxy print these explanations with the error that Entra returns. Look for the number
after `AADSTS`; for messages of SDKs and of Kubernetes see [faq.md](../operate/faq.md). Generated from the code by
`make docs`.

| Code | What it means, and what to do | Does a retry help? |
|---|---|---|
"""
RETRY: Final = {
    Kind.PERMANENT: "no",
    Kind.PROPAGATING: "for some minutes after a change",
    Kind.THROTTLED: "later",
    Kind.OUTAGE: "yes",
}


def page() -> str:
    """Return the whole page, sorted by code."""
    meanings = sorted(MEANINGS.items())
    return HEAD + "".join(f"| `AADSTS{code}` | {error.remedy} | {RETRY[error.kind]} |\n" for code, error in meanings)


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if PAGE.read_text() == page() else f"{PAGE} is not up to date: run make docs")
    PAGE.write_text(page())
