"""All codes: looked up by what a user has of one, be it a code, a number or a whole message."""

import re
from difflib import get_close_matches
from functools import cache
from itertools import takewhile
from typing import Final

from azwi_cli.explanations import decisions, entra, findings
from azwi_cli.explanations.explanation import Explanation

MAX_TEXT: Final = 64 << 10
MAX_SUGGESTIONS: Final = 3
_AADSTS: Final = re.compile(r"AADSTS\d{5,8}", re.IGNORECASE)
_NUMBER: Final = re.compile(r"\d{5,8}")
# Admission warnings end with "(near-miss)", findings too; in JSON and in metrics the code is in quotes.
_MARKED: Final = re.compile(r"[(\"'`]([a-z]+(?:-[a-z]+)+)[)\"'`]")


@cache
def everything() -> tuple[Explanation, ...]:
    """All explanations: Entra's by code, then reasons, warnings and findings."""
    return (*entra.explanations(), *decisions.explanations(), *findings.explanations())


def codes() -> list[str]:
    """All codes, once each; some are both a warning of the webhook and a finding of the doctor."""
    return list(dict.fromkeys(explanation.code for explanation in everything()))


def find(text: str) -> list[Explanation]:
    """The explanations of a code in any case, of a number of Entra, or of the codes that a message has."""
    word = text.strip().rstrip(".:,").lower()
    wanted = [f"aadsts{word}" if _NUMBER.fullmatch(word) else word]
    found = _of(wanted)
    return found or _of([*(code.lower() for code in _AADSTS.findall(text)), *_MARKED.findall(text)])


def similar(text: str) -> list[str]:
    """The codes that were probably meant."""
    by_lower = {code.lower(): code for code in codes()}
    word = text.strip().lower()
    if number := re.fullmatch(r"(?:aadsts)?(\d{4,9})", word):
        entra_codes = [code for code in codes() if code.startswith("AADSTS")]
        near = sorted(entra_codes, key=lambda code: _distance(number[1], code.removeprefix("AADSTS")))
        return near[:MAX_SUGGESTIONS]
    return [by_lower[near] for near in get_close_matches(word, by_lower, MAX_SUGGESTIONS)]


def _distance(number: str, other: str) -> tuple[int, int]:
    """How far apart two numbers of Entra are: their families have the same first digits."""
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(number, other, strict=False)))
    return -alike, abs(int(number) - int(other))


def _of(wanted: list[str]) -> list[Explanation]:
    order = {code: place for place, code in reversed(list(enumerate(wanted)))}
    found = [explanation for explanation in everything() if explanation.code.lower() in order]
    return sorted(found, key=lambda explanation: order[explanation.code.lower()])
