"""Label selectors as the API server reads them."""

import pytest

from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.selectors import matches, missing


def expression(operator: str, *values: str) -> JsonObject:
    """Write a selector of one expression."""
    return {"matchExpressions": [{"key": "k", "operator": operator, **({"values": list(values)} if values else {})}]}


CASES: list[tuple[JsonObject | None, dict[str, str], bool]] = [
    (None, {}, True),
    ({}, {"k": "v"}, True),
    ({"matchLabels": {"k": "v"}}, {"k": "v", "o": ""}, True),
    ({"matchLabels": {"k": "v"}}, {"k": "w"}, False),
    (expression("In", "a", "b"), {"k": "b"}, True),
    (expression("In", "a", "b"), {}, False),
    (expression("NotIn", "a"), {}, True),
    (expression("NotIn", "a"), {"k": "a"}, False),
    (expression("Exists"), {"k": ""}, True),
    (expression("Exists"), {}, False),
    (expression("DoesNotExist"), {}, True),
    (expression("DoesNotExist"), {"k": ""}, False),
]


@pytest.mark.parametrize(("selector", "labels", "wanted"), CASES)
def test_matches(selector: JsonObject | None, labels: dict[str, str], *, wanted: bool) -> None:
    """Every operator, and what is absent."""
    assert matches(selector, labels) is wanted


@pytest.mark.parametrize(("selector", "labels", "wanted"), CASES)
def test_missing(selector: JsonObject | None, labels: dict[str, str], *, wanted: bool) -> None:
    """With the labels that miss an object is selected; nothing misses one that is."""
    changes = missing(selector, labels)
    assert (changes == {}) is wanted
    merged = {**labels, **changes}
    assert matches(selector, {key: value for key, value in merged.items() if value is not None})
