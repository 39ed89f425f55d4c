"""The published JSON schemas of azwi's outputs, held against what commands print."""

import json
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # the package carries no types

from testbed.program import ROOT

DIRECTORY = ROOT / "docs" / "reference" / "schemas"


def follows_schema(name: str, text: str) -> Any:  # noqa: ANN401  JSON
    """Return the document in `text`, which the published schema of that name describes in full."""
    schema = json.loads((DIRECTORY / f"{name}.json").read_text())
    Draft202012Validator.check_schema(schema)
    document = json.loads(text)
    Draft202012Validator(schema).validate(document)
    return document
