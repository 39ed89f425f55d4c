"""Label selectors as the API server reads them."""

from typing import Any

import pytest

from azwi.commands.doctor.selectors import matches, missing


def expression(operator: str, *values: str) -> dict[str, Any]:
    """Write a selector of one expression."""
    return {"matchExpressions": [{"key": "k", "operator": operator, **({"values": list(values)} if values else {})}]}


CASES: list[tuple[dict[str, Any] | None, dict[str, str], bool]] = [
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
def test_matches(selector: dict[str, Any] | None, labels: dict[str, str], *, wanted: bool) -> None:
    """Every operator, and what is absent."""
    assert matches(selector, labels) is wanted


@pytest.mark.parametrize(("selector", "labels", "wanted"), CASES)
def test_missing(selector: dict[str, Any] | None, labels: dict[str, str], *, wanted: bool) -> None:
    """With the labels that miss an object is selected; nothing misses one that is."""
    changes = missing(selector, labels)
    assert (changes == {}) is wanted
    merged = {**labels, **changes}
    assert matches(selector, {key: value for key, value in merged.items() if value is not None})
