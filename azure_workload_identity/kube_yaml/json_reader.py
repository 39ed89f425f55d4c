"""Reads a text that is JSON all through, as kubectl looks for it before it looks for YAML.

JSON is no subset of YAML to libyaml: pairs of surrogates and the escape of a slash are errors there. It is faster, too.
"""

import json
import re
from typing import Any, Final

from azure_workload_identity.kube_yaml import scalars
from azure_workload_identity.types import JsonObject

_SPACE: Final = re.compile(r"[ \t\r\n]*")


def read(content: str | bytes, max_depth: int) -> list[tuple[object, int]] | None:
    """Its values, each with the line that it begins on; None for any other text, and for JSON with something wrong.

    That is left to the reader of YAML, which reports it with its line.

    Raises:
        OverflowError: for a number that is too large, which would be text to YAML.
    """
    if content.lstrip()[:1] not in {"{", b"{"}:
        return None
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        values: list[tuple[object, int]] = []
        line, before, position = 1, 0, _after_space(text, 0)
        while position < len(text):
            line, before = line + text.count("\n", before, position), position
            value, end = _DECODER.raw_decode(text, position)
            values.append((value, line))
            position = _after_space(text, end)
        _check(values, max_depth + 2)
        if "\\ud" in text or "\\uD" in text:  # a surrogate without its other half cannot be encoded
            json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return values


def _after_space(text: str, position: int) -> int:
    found = _SPACE.match(text, position)
    return found.end() if found else position


def _check(value: object, levels: int) -> None:
    """Raise ValueError for what is nested deeper than that."""
    if not levels:
        raise ValueError("it is nested too deep")
    for entry in value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ():
        if isinstance(entry, dict | list | tuple):
            _check(entry, levels - 1)


def _map(pairs: list[tuple[str, Any]]) -> JsonObject:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key is given twice")
    return entries


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_map,
    parse_int=scalars.json_number,
    parse_float=scalars.json_number,
    parse_constant=_no_constant,
)
