"""Parsers of annotation values: strict, and equal to v1.6.0's where those are strict.

Python's own `int()` accepts blanks, underscores and full-width digits; Go's `strconv.ParseInt` does not.
"""

import re
from decimal import Decimal
from typing import Final

_INTEGER: Final = re.compile(r"\+?[0-9]{1,18}", re.ASCII)
UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
DOMAIN: Final = re.compile(
    r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.ASCII | re.IGNORECASE
)
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY: Final = re.compile(
    r"(?P<number>[0-9]{1,15}(\.[0-9]{0,9})?|\.[0-9]{1,9})(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?",
    re.ASCII,
)
_BINARY: Final = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL: Final = {
    letter: Decimal(10) ** exponent
    for letter, exponent in (
        ("n", -9), ("u", -6), ("m", -3), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)
    )
}  # fmt: skip
_NONE: Final[frozenset[str]] = frozenset()
TRUE: Final = frozenset({"true", "t", "1"})
FALSE: Final = frozenset({"false", "f", "0"})
MAX_ID: Final = 253


def integer(text: str) -> int | None:
    """Parse a decimal integer, None for anything else: `+7200` and `007200` are numbers, ` 7200` and `7_200` not."""
    return int(text) if _INTEGER.fullmatch(text) else None


def boolean(text: str) -> bool | None:
    """Parse a boolean (true, t, 1, false, f, 0 in any case), None for anything else."""
    if not text:
        return None
    lowered = text.lower()
    return True if lowered in TRUE else False if lowered in FALSE else None


def names(text: str) -> frozenset[str]:
    """Parse a list of container names, separated by semicolons (v1.6.0) or commas and trimmed of blanks."""
    return frozenset(name.strip() for name in text.replace(",", ";").split(";")) - {""} if text else _NONE


def quantity(text: str) -> Decimal | None:
    """Parse a Kubernetes quantity into its base unit (cores, bytes), None for anything else."""
    match = QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix = Decimal(match["number"]), match["suffix"]
    if suffix is None:
        return number
    factor = _BINARY.get(suffix) or _DECIMAL.get(suffix)
    return number * (Decimal(f"1{suffix}") if factor is None else factor)


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in the form with hyphens."""
    return UUID.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    """Whether `text` can name a tenant: a UUID, or a domain that the tenant owns."""
    return is_uuid(text) or DOMAIN.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether `text` can be an id in an environment variable: printable ASCII without blanks, at most MAX_ID long."""
    return 0 < len(text) <= MAX_ID and text.isascii() and text.isprintable() and " " not in text
