"""How annotation values are read: strictly, and as v1.6.0 reads them where it is strict.

Python's own `int()` takes blanks, underscores and full-width digits; Go's `strconv.ParseInt` does not.
"""

import re
from decimal import Decimal
from typing import Final

_INTEGER: Final = re.compile(r"\+?[0-9]{1,18}", re.ASCII)
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_DOMAIN: Final = re.compile(
    r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}", re.ASCII | re.IGNORECASE
)
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY: Final = re.compile(
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
_TRUE: Final = frozenset({"true", "t", "1"})
_FALSE: Final = frozenset({"false", "f", "0"})
MAX_ID: Final = 253


def integer(text: str) -> int | None:
    """The decimal integer that `text` is, or None. `+7200` and `007200` are numbers, ` 7200` and `7_200` are not."""
    return int(text) if _INTEGER.fullmatch(text) else None


def boolean(text: str) -> bool | None:
    """The boolean that `text` is (true, t, 1, false, f, 0 in any case), or None."""
    lowered = text.lower()
    return True if lowered in _TRUE else False if lowered in _FALSE else None


def names(text: str) -> frozenset[str]:
    """The container names in a list separated by semicolons (v1.6.0) or commas, blanks trimmed."""
    return frozenset(name.strip() for name in text.replace(",", ";").split(";")) - {""} if text else _NONE


def quantity(text: str) -> Decimal | None:
    """The Kubernetes quantity that `text` is, in its base unit (cores, bytes), or None."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    number, suffix = Decimal(match["number"]), match["suffix"]
    if suffix is None:
        return number
    factor = _BINARY.get(suffix) or _DECIMAL.get(suffix)
    return number * (Decimal(f"1{suffix}") if factor is None else factor)


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its usual form, as client ids are."""
    return _UUID.fullmatch(text) is not None


def is_tenant(text: str) -> bool:
    """Whether `text` can name a tenant: a UUID or a domain that the tenant owns."""
    return is_uuid(text) or _DOMAIN.fullmatch(text) is not None


def is_id(text: str) -> bool:
    """Whether `text` can stand in an environment variable as an id: printable ASCII without blanks, not long."""
    return 0 < len(text) <= MAX_ID and text.isascii() and text.isprintable() and " " not in text
