"""One code, explained. Texts are Markdown as the manual has it: code in backticks, links below docs/reference."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azwi_cli.console import manual

_LINK: Final = re.compile(r"\[([^]]*)\]\(([^)]*)\)")


class Source(StrEnum):
    """Who uses the code."""

    ENTRA = "entra"
    REASON = "reason"
    WARNING = "warning"
    DOCTOR = "doctor"


HEADINGS: Final = {
    Source.ENTRA: "Microsoft Entra",
    Source.REASON: "reason of the webhook",
    Source.WARNING: "warning of the webhook",
    Source.DOCTOR: "finding of azwi doctor",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A code and what it means.

    Args:
        code: the code as it is printed, such as AADSTS700213 or no-client-id.
        source: who uses it.
        meaning: one sentence.
        note: the decision that goes with a reason, the severity of a finding, whether a retry helps.
        causes: the most likely ones first; empty where the meaning says it all.
        fix: what to do; empty where nothing is to be done.
        page: the address of its part of the manual.
    """

    code: str
    source: Source
    meaning: str
    note: str
    causes: tuple[str, ...]
    fix: tuple[str, ...]
    page: str


def plain(text: str) -> str:
    """A text as a terminal shows it: without backticks, a link as its text, and with its page if that is only "how"."""
    return _LINK.sub(_shown, text).replace("`", "")


def _shown(link: re.Match[str]) -> str:
    text, target = link.groups()
    if text != "how":
        return text
    return f"{text}: {manual.MANUAL}/{target.removeprefix('../')}"
