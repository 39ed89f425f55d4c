"""Reading YAML and JSON from strangers."""

import json
import tracemalloc
from pathlib import Path

import pytest

from azure_workload_identity.kube_yaml import builder, reader
from azure_workload_identity.kube_yaml.builder import ALIASED_VALUE, MAX_ALIASED, MAX_DEPTH, Document
from azure_workload_identity.kube_yaml.reader import MAX_BYTES, YamlError


def merge_bomb(levels: int) -> str:
    """Write maps that merge the one before nine times."""
    lines = ["x0: &x0 {a: 1, b: 2, c: 3, d: 4}"]
    lines += [f"x{level}: &x{level} {{<<: [{', '.join([f'*x{level - 1}'] * 9)}]}}" for level in range(1, levels)]
    return "\n".join(lines)


def wide_merges(keys: int) -> str:
    """Write one map of many keys, and as many maps that merge it."""
    return f"x: &x {{{', '.join(f'k{number}: 1' for number in range(keys))}}}\ny:\n" + "- {<<: *x}\n" * keys


def alias_bomb(levels: int) -> str:
    """Write lists that hold the one before nine times."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "m.yaml:2: the key 'a' is given twice"),
        ("1: a\n'1': b\n", "m.yaml:2: the key '1' is given twice"),
        ('{"a": 1,\n"b": {"c": 1, "c": 2}}', "m.yaml:2: the key 'c' is given twice"),
        ("a:\n- b\n c: d\n", "m.yaml:3: mapping values are not allowed in this context"),
        ("a:\n\tb: c\n", "m.yaml:2: found character that cannot start any token while scanning for the next token"),
        ("a: *b\n", "m.yaml:1: there is no anchor &b before it"),
        ("a: 1\n---\nb: &x\n  c: *x\n", "m.yaml:4: the anchor &x contains itself"),
        ("a: 1\nb: \x00", "m.yaml:2: it is not text: control characters are not allowed"),
        ('{"a": 1e999}', "m.yaml: the number 1e999 is too large"),
        (f"a: {'[' * MAX_DEPTH}", f"m.yaml:1: it is nested deeper than {MAX_DEPTH}"),
        ("[" * 100_000, f"m.yaml:1: it is nested deeper than {MAX_DEPTH}"),
        ("- " * 100_000, f"m.yaml:1: it is nested deeper than {MAX_DEPTH}"),
        ('{"a":' * 100_000, f"m.yaml:1: it is nested deeper than {MAX_DEPTH}"),
        (json.dumps({"a": json.loads("[" * 300 + "]" * 300)}), f"m.yaml:1: it is nested deeper than {MAX_DEPTH}"),
    ],
)
def test_error(text: str, message: str) -> None:
    """What is wrong is reported with file and line."""
    with pytest.raises(YamlError) as refused:
        list(reader.read(text, "m.yaml"))
    assert str(refused.value) == message


@pytest.mark.parametrize("text", [alias_bomb(9), wide_merges(300), "a: &a " + "x" * 40_000 + "\nb: [*a, *a]"])
def test_bomb(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text whose aliases or merge keys stand for far more than it holds is refused while it is still small."""
    monkeypatch.setattr(builder, "MAX_ALIASED", 2**16)
    tracemalloc.start()
    try:
        with pytest.raises(YamlError, match="its aliases stand for too much"):
            list(reader.read(text))
        assert tracemalloc.get_traced_memory()[1] < 100 * len(text) + 16 * 2**16
    finally:
        tracemalloc.stop()


def test_merge_keys() -> None:
    """Merge keys that stand for nine to the power of eleven maps of the same keys are one map of these keys."""
    document = reader.read_one(merge_bomb(12))
    assert isinstance(document, dict)
    assert document["x11"] == {"a": 1, "b": 2, "c": 3, "d": 4}


def test_depth_of_aliases() -> None:
    """An alias counts as deep as what it stands for."""
    half = MAX_DEPTH // 2
    text = f"a: &a {'[' * half}{']' * half}\nb: {'[' * half}*a{']' * half}\n"
    with pytest.raises(YamlError, match="line 2: it is nested deeper"):
        reader.read_one(text)


def test_aliases_are_copies() -> None:
    """What aliases and merge keys stand for is not shared: a change of one place is none of another."""
    document = reader.read_one("a: &a {b: [1]}\nc: *a\nd: {<<: *a}\n")
    assert isinstance(document, dict)
    document["a"]["b"].append(2)
    assert (document["c"], document["d"]) == ({"b": [1]}, {"b": [1]})


def test_as_many_aliases_as_are_useful() -> None:
    """Some ten thousands of aliases are read."""
    text = "a: &a x\nb:\n" + "- *a\n" * (MAX_ALIASED // (2 * ALIASED_VALUE))
    document = reader.read_one(text)
    assert isinstance(document, dict)
    assert set(document["b"]) == {"x"}


def test_size(tmp_path: Path) -> None:
    """A text that is too large is refused before it is read, and a file is not read whole for that."""
    (tmp_path / "a.yaml").write_bytes(b"#" * (MAX_BYTES + 1000))
    with pytest.raises(YamlError, match=r"a\.yaml: it is larger than 32 MiB"):
        list(reader.read_file(tmp_path / "a.yaml"))
    assert len(reader.content_of(tmp_path / "a.yaml")) == MAX_BYTES + 1


def test_documents() -> None:
    """Documents have the line that they begin on; empty ones are left out."""
    assert list(reader.read("---\n# a\n---\na: 1\n---\n\n- b\n--- c\n")) == [
        Document({"a": 1}, 4),
        Document(["b"], 7),
        Document("c", 8),
    ]
    assert list(reader.read('\n{"a": 1}\n{"b": "\\ud83d\\ude00"}\n')) == [
        Document({"a": 1}, 2),
        Document({"b": "\N{GRINNING FACE}"}, 3),
    ]
    assert list(reader.read(b"\xff\xfea\x00")) == [Document("a", 1)]


def test_one_document() -> None:
    """Where one document is expected, a second one is an error."""
    assert reader.read_one("") is None
    with pytest.raises(YamlError, match="line 3: there is a second document"):
        reader.read_one("a: 1\n---\nb: 2\n")
