"""Writes YAML that kubectl, and any reader of YAML 1.1 or 1.2, reads as what it was made of."""

import io
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final

import yaml

from azure_workload_identity.kube_yaml import scalars

WIDTH: Final = 120

_DUMPER: Final = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
# By first letter: the patterns of what is not text to readers of YAML 1.1, such as 22:30.
_YAML_1_1: Final = yaml.SafeDumper.yaml_implicit_resolvers
_REMEMBERED: Final = 4096


def write(value: object) -> str:
    """One document: maps in their order, text of several lines as a block, nothing shared."""
    return write_all([value])


def write_all(values: Iterable[object]) -> str:
    """Several documents, with `---` between them."""
    stream = io.StringIO()
    dumper = _DUMPER(stream, width=WIDTH)
    dumper.emit(yaml.StreamStartEvent())
    for number, value in enumerate(values):
        dumper.emit(yaml.DocumentStartEvent(explicit=number > 0))
        for event in _events(value):
            dumper.emit(event)
        dumper.emit(yaml.DocumentEndEvent(explicit=False))
    dumper.emit(yaml.StreamEndEvent())
    return stream.getvalue()


def _events(value: object) -> Iterator[yaml.Event]:
    if isinstance(value, str):
        yield _text(value)
    elif isinstance(value, Mapping):
        yield yaml.MappingStartEvent(None, None, implicit=True, flow_style=not value)
        for key, entry in value.items():
            yield _text(str(key))
            yield from _events(entry)
        yield yaml.MappingEndEvent()
    elif isinstance(value, list | tuple):
        yield yaml.SequenceStartEvent(None, None, implicit=True, flow_style=not value)
        for entry in value:
            yield from _events(entry)
        yield yaml.SequenceEndEvent()
    else:
        yield yaml.ScalarEvent(None, None, (True, False), _word(value))


def _text(value: str) -> yaml.ScalarEvent:
    if "\n" in value:
        return yaml.ScalarEvent(None, None, (False, True), value, style="|")
    return yaml.ScalarEvent(None, None, (not _is_special(value), True), value)


def _word(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value)
    # 1e+21 without a point is text to readers of YAML 1.1
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


@lru_cache(_REMEMBERED)
def _is_special(text: str) -> bool:
    """Whether text without quotes would be something else to a reader."""
    if any(pattern.match(text) for _, pattern in _YAML_1_1.get(text[:1], ())):
        return True
    try:
        return text[:1] in scalars.SPECIAL_STARTS and scalars.resolve(None, text) != text
    except ValueError:
        return True
