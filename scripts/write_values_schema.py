"""Writes the chart's values.schema.json: `python -m scripts.write_values_schema [--check]`.

Names, types and descriptions come from values.yaml and its comments; values.rules.yaml adds what a default cannot say.
Misnamed values pass the schema, so that templates/_checks.tpl can name the value that is meant.
"""

import json
import sys
from typing import Any, Final

import yaml

from scripts.chart_values import CHART, RULES, VALUES, Value, documented_values

SCHEMA: Final = CHART / "values.schema.json"
_TYPES: Final = {bool: "boolean", int: "integer", str: "string", list: "array", dict: "object"}


def schema() -> dict[str, Any]:
    """Return the schema.

    Raises:
        ValueError: A rule or a misnamed value refers to a value that values.yaml does not have.
    """
    values = {value.name: value for value in documented_values(VALUES.read_text())}
    written = yaml.safe_load(RULES.read_text())
    rules, misnamed = written["rules"], written["misnamed"]
    root: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
    maps = {"": root}
    for value in values.values():
        parent = _parent_map(value.name, maps)
        parent["properties"][value.name.rpartition(".")[2]] = _skeleton(value) | rules.get(value.name, {})
    for name in rules.keys() - values.keys():
        if name not in maps:
            raise ValueError(f"{RULES.name} has a rule for {name}, and values.yaml has no such value")
        maps[name] |= rules[name]
    for name, meant in misnamed.items():
        if name in values or not (meant in values or meant in maps):
            raise ValueError(
                f"{RULES.name} replaces {name} by {meant}: the first must be no value, the second must be one"
            )
        _parent_map(name, maps)["properties"][name.rpartition(".")[2]] = {"description": f"Not a value: set {meant}."}
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Values of the chart {CHART.name}",
    }
    return head | root


def _parent_map(name: str, maps: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of the map that holds a value; make it, and those above it, where there is none."""
    parent, _, _ = name.rpartition(".")
    if parent not in maps:
        made: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": {}}
        _parent_map(parent, maps)["properties"][parent.rpartition(".")[2]] = made
        maps[parent] = made
    return maps[parent]


def _skeleton(value: Value) -> dict[str, Any]:
    kind = _TYPES.get(type(value.default))
    return ({"type": kind} if kind else {}) | {"description": value.description}


def text() -> str:
    """Return the schema as the file holds it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if SCHEMA.read_text() == text() else f"{SCHEMA} is not what values.yaml says: run make docs")
    SCHEMA.write_text(text())
