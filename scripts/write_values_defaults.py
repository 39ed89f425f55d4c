"""Writes the chart's files/values.json: `python -m scripts.write_values_defaults [--check]`.

Templates cannot read the chart's own values.yaml. This file has, for values that are null or missing, every documented
value's default, and the names that people write for another value.
"""

import json
import sys
from typing import Final

import yaml

from scripts.chart_values import CHART, RULES, VALUES, documented_values

FILE: Final = CHART / "files" / "values.json"


def text() -> str:
    """Return the file's content: both maps are keyed by dotted names."""
    defaults = {value.name: value.default for value in documented_values(VALUES.read_text())}
    misnamed = yaml.safe_load(RULES.read_text())["misnamed"]
    return json.dumps({"defaults": defaults, "misnamed": misnamed}, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if FILE.read_text() == text() else f"{FILE} is not what values.yaml says: run make docs")
    FILE.write_text(text())
