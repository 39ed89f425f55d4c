"""What kubectl makes of a scalar: sigs.k8s.io/yaml's rules, then JSON's, then those of unstructured objects.

They are neither YAML 1.1's nor 1.2's: `on` and `y` are true, `014` and `0o14` are 12, `22:30` and dates are
strings, and `5.0` is the integer 5. tests/cluster/test_kubectl_yaml.py compares them with the real kubectl.
"""

import binascii
import math
import re
import struct
from base64 import b64decode
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final

Scalar = str | int | float | bool | None

INT64: Final = range(-(2**63), 2**63)
_UINT64_MAX: Final = 2**64 - 1
_TAG: Final = "tag:yaml.org,2002:"
_EXPONENTS: Final = range(-4, 6)  # those that Go's shortest format of a number has no need to write
MAX_QUOTED: Final = 40
_REMEMBERED: Final = 1024

_WORDS: Final[Mapping[str, bool | None]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_NOT_FINITE: Final[Mapping[str, float]] = {
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "null": (type(None),),
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
}
# A scalar without quotes that begins otherwise is a string; "" is for the empty one, "<" for merge keys.
SPECIAL_STARTS: Final = frozenset({"", *"yYnNtTfFoO~<.+-0123456789"})
_NUMBER_STARTS: Final = frozenset("0123456789+-")
_PREFIXED: Final = re.compile(r"([-+]?)0(?:[xX]([0-9a-fA-F]+)|[oO]([0-7]+)|[bB]([01]+)|([0-7]*))", re.ASCII)
_SIGNED_BINARY: Final = re.compile(r"0b([-+][01]+)", re.ASCII)
_DECIMAL: Final = re.compile(r"[-+]?[1-9][0-9]*", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
# Go's ParseFloat: an underscore stands between digits.
_FRACTION: Final = re.compile(r"\.[0-9](?:_?[0-9])*(?:[eE][-+]?[0-9](?:_?[0-9])*)?", re.ASCII)
_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:[Tt][0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:[.,][0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})"
    r"| [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2}(?:[.,][0-9]+)?)?",
    re.ASCII,
)


def resolve(tag: str | None, text: str) -> Scalar:
    """The value of a scalar without quotes (`tag` None) or with a tag; an unknown tag leaves the text.

    Raises:
        ValueError: when the text is not of the tag's type.
    """
    if tag is None:
        return _plain(text)
    kind = tag.removeprefix(_TAG) if tag.startswith(_TAG) else ""
    if kind == "binary":
        return _binary(text)
    if kind == "timestamp" and _is_date(text):
        return text
    if kind not in {*_TYPES, "timestamp"}:
        return text
    value = _plain(text)
    if kind == "timestamp" or type(value) not in _TYPES[kind]:
        raise ValueError(f"{text[:MAX_QUOTED]!r} is not of the type !!{kind}")
    return float(value) if kind == "float" and isinstance(value, int) else value


@lru_cache(_REMEMBERED)
def value_of(tag: str | None, text: str) -> Scalar:
    """`resolve`, and then `json_value`; numbers and booleans repeat a lot in manifests."""
    return json_value(resolve(tag, text))


def json_value(value: Scalar) -> Scalar:
    """A scalar after its way through JSON: whole numbers are integers where 64 bits hold them, others floats.

    Raises:
        ValueError: for infinities and NaN, which JSON does not have.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not math.isfinite(value):
        raise ValueError("JSON has neither infinity nor NaN; quote it if it is text")
    if isinstance(value, int):
        return value if value in INT64 else float(value)
    whole = int(Decimal(repr(value))) if value.is_integer() else None  # the digits that Go writes
    return whole if whole is not None and whole in INT64 else value


def json_number(text: str) -> int | float:
    """A number of JSON, as an unstructured object has it.

    Raises:
        OverflowError: when a float cannot hold it.
    """
    value = float(text) if len(text) > MAX_QUOTED or set(text) & set(".eE") else int(text)
    if not math.isfinite(value):
        raise OverflowError(f"the number {text[:MAX_QUOTED]} is too large")
    return value if isinstance(value, int) and value in INT64 else float(value)


def key(value: object) -> str:
    """The name of a field from what stands before its colon: numbers and booleans become text.

    Raises:
        ValueError: for null, lists and maps.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value in INT64:
        return str(value)
    if isinstance(value, float):
        return _float32(value)
    raise ValueError("a key must be a string")


def _plain(text: str) -> Scalar:
    if text in _WORDS:
        return _WORDS[text]
    if text[0] in _NUMBER_STARTS:
        return _number(text)
    if text[0] == ".":
        if text in _NOT_FINITE:
            return _NOT_FINITE[text]
        if _FRACTION.fullmatch(text):
            return float(text)
    return text


def _number(text: str) -> str | int | float:
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    digits = text.replace("_", "")
    whole = _integer(digits)
    if whole is not None and (whole in INT64 or (whole <= _UINT64_MAX and digits[0] not in "+-")):
        return whole
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        return text if math.isinf(value) else value
    return text


def _integer(digits: str) -> int | None:
    if _DECIMAL.fullmatch(digits):
        return int(digits) if len(digits) <= len("-18446744073709551615") else None
    if found := _PREFIXED.fullmatch(digits):
        sign, base16, base8, base2, octal = found.groups()
        if base16 or base8 or base2:
            base = 16 if base16 else 8 if base8 else 2
            return int(sign + (base16 or base8 or base2), base)
        return int(sign + (octal or "0"), 8)
    if found := _SIGNED_BINARY.fullmatch(digits):
        return int(found[1], 2)
    return None


def _binary(text: str) -> str:
    try:
        return b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError) as error:
        raise ValueError("it is not base64") from error


def _float32(value: float) -> str:
    """A float as Go's strconv.FormatFloat(value, 'g', -1, 32) has it: what kubectl makes of a key such as 1.10."""
    try:
        stored = struct.pack("f", value)
    except OverflowError:
        stored = struct.pack("f", math.copysign(math.inf, value))
    if not math.isfinite(struct.unpack("f", stored)[0]):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    texts = (f"{value:.{digits}e}" for digits in range(9))
    shortest = next(text for text in texts if struct.pack("f", float(text)) == stored)
    exponent = int(shortest.split("e")[1])
    return shortest if exponent < _EXPONENTS.start or exponent >= _EXPONENTS.stop else f"{Decimal(shortest):f}"


def _is_date(text: str) -> bool:
    found = _DATE.fullmatch(text)
    if not found:
        return False
    try:
        date(*(int(part) for part in found.groups()))
    except ValueError:
        return False
    return True
