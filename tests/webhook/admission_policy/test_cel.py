"""Literals, placeholders and the order of variables."""

import pytest

from webhook.admission_policy.cel import Variable, cel, code, literal, needed


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("it's", r"'it\'s'"),
        ("a\\b\n\t", r"'a\\b\n\t'"),
        ("", "''"),
        (True, "true"),
        (3600, "3600"),
        (["a", "b"], "['a', 'b']"),
        (frozenset({"b", "a"}), "['a', 'b']"),
        ([], "[]"),
        ({"name": "a", "value": "b"}, "{'name': 'a', 'value': 'b'}"),
        ({"path": "a", "readOnly": True}, "{'path': dyn('a'), 'readOnly': dyn(true)}"),
        (code("variables.port"), "variables.port"),
        (f"port {code('variables.port')}!", "'port ' + variables.port + '!'"),
        ({"port": code("variables.port")}, "{'port': dyn(variables.port)}"),
    ],
)
def test_literal(value: object, written: str) -> None:
    """A value is written as CEL; members of several types, or of an expression's, are dyn."""
    assert literal(value) == written


def test_long_literal() -> None:
    """A long list has one member a line, indented like the line that it is in."""
    items = ["a" * 50, "b" * 50]
    assert cel("[\n  @ITEMS\n]", ITEMS=items) == f"[\n  [\n    '{items[0]}',\n    '{items[1]}'\n  ]\n]"


def test_placeholder() -> None:
    """A placeholder is a name on the wire, or a value that is given."""
    assert cel("x[@CLIENT_ID] == @OTHER", OTHER=1) == "x['azure.workload.identity/client-id'] == 1"


def test_unknown_placeholder() -> None:
    """A placeholder of no value is an error."""
    with pytest.raises(KeyError, match="NO_SUCH_NAME"):
        cel("@NO_SUCH_NAME")


def test_needed() -> None:
    """Of all variables only those that an expression uses are kept, each after those that it uses."""
    known = [Variable("a", "", "variables.b + variables.c"), Variable("b", "", "variables.c"), Variable("c", "", "1")]
    unused = Variable("d", "", "variables.a")
    assert [found.name for found in needed([*known, unused], "variables.a")] == ["c", "b", "a"]
