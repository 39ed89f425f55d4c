"""Writes the chart's table of values from the comments in values.yaml: `python -m scripts.write_values [--check]`.

"# -- text" above a key describes it, further comment lines go on; "# @section Title" begins a table.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).resolve().parent.parent / "charts" / "workload-identity-webhook"
README: Final = CHART / "README.md"
BEGIN: Final = "<!-- values.yaml: begin; make docs -->\n"
END: Final = "<!-- values.yaml: end -->\n"
_KEY: Final = re.compile(r"(?P<indent> *)(?P<key>[A-Za-z]\w*):")


@dataclass(frozen=True, slots=True)
class Value:
    """One documented value: its section, its name as `helm --set` has it, what it means, its default."""

    section: str
    name: str
    meaning: str
    default: Any


def documented(text: str) -> Iterator[Value]:
    """The documented values of a values.yaml, in its order."""
    defaults = yaml.safe_load(text)
    section, meaning, path = "", list[str](), list[str]()
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("# @section "):
            section = stripped.removeprefix("# @section ")
        elif stripped.startswith("# -- "):
            meaning = [stripped.removeprefix("# -- ")]
        elif stripped.startswith("#"):
            meaning += [stripped.removeprefix("#").strip()] if meaning else []
        elif match := _KEY.match(line):
            path = [*path[: len(match["indent"]) // 2], match["key"]]
            if meaning:
                yield Value(section, ".".join(path), " ".join(meaning), _at(defaults, path))
            meaning = []


def _at(tree: Any, path: list[str]) -> Any:  # noqa: ANN401  what YAML holds
    for step in path:
        tree = tree[step]
    return tree


def tables() -> str:
    """The tables, one a section."""
    lines, section = [], ""
    for value in documented((CHART / "values.yaml").read_text()):
        if value.section != section:
            section = value.section
            lines += ["", f"### {section}", "", "| Value | Default | Meaning |", "|---|---|---|"]
        lines.append(f"| `{value.name}` | {_shown(value.default)} | {value.meaning} |")
    return "\n".join(lines[1:]) + "\n"


def _shown(default: object) -> str:
    return "" if default in ("", None) else f"`{json.dumps(default)}`"


def page() -> str:
    """The whole README, its tables as values.yaml has them."""
    before, _, rest = README.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if README.read_text() == page() else f"{README} is not what values.yaml says: run make docs")
    README.write_text(page())
