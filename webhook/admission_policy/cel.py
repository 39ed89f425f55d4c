"""Writes CEL: named expressions, with the names and values of this project filled in as literals.

https://kubernetes.io/docs/reference/using-api/cel/
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from inspect import cleandoc
from textwrap import indent
from typing import Final

from azure_workload_identity import names

# Longer maps and lists have one member a line.
MAX_LINE: Final = 88
_PLACEHOLDER: Final = re.compile(r"@([A-Z][A-Z0-9_]*)")
_MARKED: Final = re.compile("«([^»]*)»")
_REFERENCE: Final = re.compile(r"\bvariables\.([A-Za-z]\w*)")
_ESCAPES: Final = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


@dataclass(frozen=True, slots=True)
class Variable:
    """A named expression of a policy; `comment` is a sentence about its value."""

    name: str
    comment: str
    expression: str


def variable(name: str, comment: str, expression: str, /, **values: object) -> Variable:
    """Write a variable; `@NAME` in its expression is one of `values` or of azure_workload_identity.names."""
    return Variable(name, comment, cel(expression, **values))


def cel(expression: str, /, **values: object) -> str:
    """Fill literals into an expression; those of several lines are indented like the line that they are in.

    Raises:
        KeyError: when a name is neither in `values` nor in azure_workload_identity.names.
    """
    known = {**vars(names), **values}
    return "\n".join(_filled(line, known) for line in cleandoc(expression).splitlines())


def _filled(line: str, values: Mapping[str, object]) -> str:
    margin = line[: len(line) - len(line.lstrip())]

    def write(found: re.Match[str]) -> str:
        first, *others = literal(values[found[1]]).splitlines()
        return "\n".join((first, *(margin + other for other in others)))

    return _PLACEHOLDER.sub(write, line)


def code(expression: str) -> str:
    """Mark a text as an expression, or the part of one: `literal` writes it as it is."""
    return f"«{expression}»"


def literal(value: object) -> str:
    """Write a text, number, boolean, list or map as CEL, and as it is what `code` has marked.

    Kubernetes takes maps and lists of one type only, so the members of others are dyn.
    """
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        members = [f"{_text(key)}: {member}" for key, member in zip(value, _members(value.values()), strict=True)]
        return _wrapped("{", members, "}")
    if isinstance(value, Iterable):
        return _wrapped("[", _members(sorted(value) if isinstance(value, frozenset) else list(value)), "]")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _wrapped(opening: str, members: list[str], closing: str) -> str:
    line = opening + ", ".join(members) + closing
    if len(line) <= MAX_LINE and "\n" not in line:
        return line
    return opening + "\n" + indent(",\n".join(members), "  ") + "\n" + closing


def _members(members: Iterable[object]) -> list[str]:
    members = list(members)
    literals = [literal(member) for member in members]
    if all(isinstance(member, str) and not _MARKED.search(member) for member in members):
        return literals
    return [f"dyn({text})" for text in literals]


def _text(text: str) -> str:
    written = [
        part if index % 2 else "'" + "".join(_ESCAPES.get(character, character) for character in part) + "'"
        for index, part in enumerate(_MARKED.split(text))
        if index % 2 or part
    ]
    return " + ".join(written) or "''"


def needed(variables: Iterable[Variable], *expressions: str) -> list[Variable]:
    """The variables that expressions use, themselves or through others, each after those that it uses."""
    known = {known.name: known for known in variables}
    ordered: dict[str, Variable] = {}

    def add(expression: str) -> None:
        for name in _REFERENCE.findall(expression):
            if name in known and name not in ordered:
                add(known[name].expression)
                ordered[name] = known[name]

    for expression in expressions:
        add(expression)
    return list(ordered.values())
