"""Makes values of libyaml's events: bounded in depth and in what aliases and merge keys stand for."""

from dataclasses import dataclass
from typing import Any, Final

import yaml

from azure_workload_identity.kube_yaml import scalars
from azure_workload_identity.types import JsonObject

MAX_DEPTH: Final = 200
# What all aliases and merge keys of a text may stand for: its characters and ALIASED_VALUE for each value.
MAX_ALIASED: Final = 4 * 2**20
ALIASED_VALUE: Final = 16

_SPECIAL_STARTS: Final = scalars.SPECIAL_STARTS
_MERGE_TAG: Final = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document and the line that it begins on."""

    value: object
    line: int


def line_of(mark: Any) -> int:  # noqa: ANN401  libyaml's mark or PyYAML's
    """The line of a mark, counted from 1; 0 where there is none."""
    return mark.line + 1 if mark else 0


class ProblemError(Exception):
    """Something in the text is wrong; `line` counts from 1."""

    def __init__(self, problem: str, event: yaml.Event) -> None:
        super().__init__(problem)
        self.problem = problem
        self.line = line_of(event.start_mark)


class _List:
    """A list that is being read."""

    __slots__ = ("anchor", "value")

    def __init__(self, anchor: str | None) -> None:
        self.value: list[object] = []
        self.anchor = anchor

    def add(self, value: object, event: yaml.Event) -> None:  # noqa: ARG002  as _Map has it
        self.value.append(value)


class _Map:
    """A map that is being read: `key` is the one whose value comes next."""

    __slots__ = ("anchor", "expander", "key", "merged", "merging", "value")

    def __init__(self, anchor: str | None, expander: "_Expander") -> None:
        self.value: JsonObject = {}
        self.anchor = anchor
        self.expander = expander
        self.key: str | None = None
        self.merging = False
        self.merged: set[str] = set()

    def expects_key(self) -> bool:
        return self.key is None and not self.merging

    def add_key(self, key: object, event: yaml.Event) -> None:
        try:
            self.key = name = scalars.key(key)
        except ValueError as error:
            raise ProblemError(str(error), event) from None
        if name in self.value and name not in self.merged:
            raise ProblemError(f"the key {name[: scalars.MAX_QUOTED]!r} is given twice", event)
        self.merged.discard(name)

    def add(self, value: object, event: yaml.Event) -> None:
        if self.key is not None:
            self.value[self.key] = value
            self.key = None
        elif isinstance(value, str) and value not in self.value and not self.merging:
            self.key = value
        elif self.merging:
            self.merging = False
            self._merge(value, event)
        else:
            self.add_key(value, event)

    def _merge(self, value: object, event: yaml.Event) -> None:
        """As kubectl's library does: what stands later in the text wins, the first of a list's maps does."""
        maps = value if isinstance(value, list) else [value]
        for entry in reversed(maps):
            if not isinstance(entry, dict):
                raise ProblemError("a merge key (<<) takes a map or a list of maps", event)
            self.merged |= entry.keys() - self.value.keys()
            self.value |= self.expander.copy(entry, 0, event)


class _Expander:
    """Copies what aliases and merge keys stand for, as long as that is not too much."""

    def __init__(self) -> None:
        self.left = MAX_ALIASED

    def copy(self, value: Any, depth: int, event: yaml.Event) -> Any:  # noqa: ANN401  of whatever type it is
        """A copy that shares nothing; `depth` is that of the place it is for."""
        self.left -= ALIASED_VALUE + (len(value) if isinstance(value, str) else 0)
        if self.left < 0:
            raise ProblemError("its aliases stand for too much", event)
        if not isinstance(value, dict | list):
            return value
        if depth >= MAX_DEPTH:
            raise ProblemError(f"it is nested deeper than {MAX_DEPTH}", event)
        if isinstance(value, list):
            return [self.copy(entry, depth + 1, event) for entry in value]
        return {key: self.copy(entry, depth + 1, event) for key, entry in value.items()}


class DocumentBuilder:
    """Makes documents of libyaml's events, in one pass and without recursion."""

    def __init__(self) -> None:
        self._expander = _Expander()
        self._stack: list[_List | _Map] = []
        self._anchors: dict[str | None, object] = {}
        self._line = 0
        self._root: object = None

    def take(self, event: yaml.Event) -> Document | None:
        """Take the next event; the document, at its end."""
        if isinstance(event, yaml.ScalarEvent):
            text = event.value
            if event.tag is None and not event.anchor and not (event.implicit[0] and text[:1] in _SPECIAL_STARTS):
                self._add(text, event)
            else:
                self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._open(_Map(event.anchor, self._expander), event)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._open(_List(event.anchor), event)
        elif isinstance(event, yaml.CollectionEndEvent):
            closed = self._stack.pop()
            self._add(closed.value, event)
            if self._anchors.get(closed.anchor) is closed:
                self._anchors[closed.anchor] = closed.value
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()
            self._line = 0
        elif isinstance(event, yaml.DocumentEndEvent):
            return Document(self._root, self._line)
        return None

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        """Take a scalar that may be something else than text, or has an anchor."""
        tag, text = event.tag, event.value
        value: scalars.Scalar = text
        if tag is not None or event.implicit[0]:
            top = self._stack[-1] if self._stack else None
            keyed = top if isinstance(top, _Map) and top.expects_key() else None
            if keyed and text == "<<" and tag in {None, _MERGE_TAG}:
                keyed.merging = True
                return
            try:
                value = scalars.resolve(tag, text) if keyed else scalars.value_of(tag, text)
            except ValueError as error:
                raise ProblemError(str(error), event) from None
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        self._add(value, event)

    def _open(self, container: _List | _Map, event: yaml.NodeEvent) -> None:
        if not self._stack:
            self._line = line_of(event.start_mark)
        elif len(self._stack) >= MAX_DEPTH:
            raise ProblemError(f"it is nested deeper than {MAX_DEPTH}", event)
        if container.anchor is not None:
            self._anchors[container.anchor] = container
        self._stack.append(container)

    def _alias(self, event: yaml.AliasEvent) -> None:
        if event.anchor not in self._anchors:
            raise ProblemError(f"there is no anchor &{event.anchor} before it", event)
        value = self._anchors[event.anchor]
        if isinstance(value, _List | _Map):
            raise ProblemError(f"the anchor &{event.anchor} contains itself", event)
        self._add(self._expander.copy(value, len(self._stack), event), event)

    def _add(self, value: object, event: yaml.Event) -> None:
        if self._stack:
            self._stack[-1].add(value, event)
        else:
            self._root = value
            self._line = self._line or line_of(event.start_mark)
