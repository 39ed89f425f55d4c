"""Writing YAML."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as some

from azure_workload_identity.kube_yaml import reader, writer
from azure_workload_identity.types import JsonObject
from tests.azure_workload_identity.kube_yaml.scalars import SCALARS

JSON = some.recursive(
    some.none() | some.booleans() | some.integers(-(2**63), 2**63 - 1) | some.text() | some.sampled_from(SCALARS),
    lambda children: some.lists(children) | some.dictionaries(some.text() | some.sampled_from(SCALARS), children),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(JSON)
def test_round_trip(value: object) -> None:
    """Whatever is written is read as it was."""
    written = writer.write({"value": value})
    assert reader.read_one(written) == {"value": value}


@pytest.mark.parametrize("text", [text for text in SCALARS if text])
def test_other_readers(text: str) -> None:
    """Text that is something else to a reader of YAML 1.1 or to kubectl is quoted."""
    written = writer.write({"value": text, text: "key"})
    assert yaml.safe_load(written) == {"value": text, text: "key"}
    assert reader.read_one(written) == {"value": text, text: "key"}


def test_style() -> None:
    """Maps keep their order, text of several lines is a block, and what is empty is short."""
    document: JsonObject = {
        "b": ["x", {"c": 1}],
        "a": "one\ntwo\n",
        "d": {},
        "e": [],
        "f": None,
        "g": True,
        "h": 1e21,
        "i": "22:30",
    }
    assert writer.write(document) == (
        "b:\n- x\n- c: 1\na: |\n  one\n  two\nd: {}\ne: []\nf: null\ng: true\nh: 1.0e+21\ni: '22:30'\n"
    )
    assert writer.write_all([1, {"a": 2}]) == "1\n---\na: 2\n"
