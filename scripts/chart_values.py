"""The values of the chart as values.yaml documents them, for the README and the schema.

"# -- text" above a key describes it, further comment lines continue it; "# @section Title" begins a section.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).resolve().parent.parent / "charts" / "workload-identity-webhook"
VALUES: Final = CHART / "values.yaml"
RULES: Final = CHART / "values.rules.yaml"
_KEY: Final = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]\w*):")


@dataclass(frozen=True, slots=True)
class Value:
    """One documented value: its section, its dotted name as in `helm --set`, its description and its default."""

    section: str
    name: str
    description: str
    default: Any


def documented_values(text: str) -> Iterator[Value]:
    """Yield the documented values of a values.yaml, in its order."""
    defaults = yaml.safe_load(text)
    section, description, path = "", list[str](), list[str]()
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# @section "):
            section = stripped.removeprefix("# @section ")
        elif stripped.startswith("# -- "):
            description = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#"):
            description += [stripped.removeprefix("#").strip()] if description else []
        elif match := _KEY.match(line):
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            if description:
                yield Value(section, ".".join(path), " ".join(description), _value_at(defaults, path))
            description = []


def _value_at(tree: Any, path: list[str]) -> Any:  # noqa: ANN401  what YAML holds
    for key in path:
        tree = tree[key]
    return tree
