"""Reads YAML and JSON from strangers: bounded in size, depth and what aliases stand for, and exact about lines.

A key that is given twice is an error, as the API server's strict validation has it; kubectl lets the last one win.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

from azure_workload_identity.kube_yaml import json_reader
from azure_workload_identity.kube_yaml.builder import MAX_DEPTH, Document, DocumentBuilder, ProblemError, line_of

MAX_BYTES: Final = 32 * 2**20

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Document", "YamlError", "content_of", "read", "read_file", "read_one"]

_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")


class YamlError(ValueError):
    """A text that is not YAML, or more than is read of one; `line` counts from 1, and 0 is not known."""

    def __init__(self, problem: str, line: int, source: str = "") -> None:
        place = f"{source}:{line}" if source and line else source or (f"line {line}" if line else "")
        super().__init__(f"{place}: {problem}" if place else problem)
        self.problem = problem
        self.line = line


def read(content: str | bytes, source: str = "") -> Iterator[Document]:
    """The documents of a text that are not empty; `source` is its name in errors.

    Raises:
        YamlError: while iterating, at the first thing that is wrong.
    """
    if len(content) > MAX_BYTES:
        raise YamlError(f"it is larger than {MAX_BYTES // 2**20} MiB", 0, source)
    try:
        values = json_reader.read(content, MAX_DEPTH)
    except OverflowError as error:
        raise YamlError(str(error), 0, source) from None
    if values is not None:
        yield from (Document(value, line) for value, line in values)
        return
    builder = DocumentBuilder()
    try:
        for event in _events(content):
            document = builder.take(event)
            if document is not None and document.value is not None:
                yield document
    except ProblemError as error:
        raise YamlError(error.problem, error.line, source) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" {error.context}" if error.context else ""
        raise YamlError(f"{error.problem}{context}", line_of(mark), source) from None
    except yaml.reader.ReaderError as error:
        raise YamlError(f"it is not text: {error.reason}", _line_of(content, error.position), source) from None
    except UnicodeEncodeError as error:
        raise YamlError("it is not text: a lone surrogate", _line_of(content, error.start), source) from None


def _events(content: str | bytes) -> Iterator[yaml.Event]:
    """Those of libyaml, as yaml.parse has them, at half its cost."""
    loader = _LOADER(_with_last_newline(content))
    try:
        while not isinstance(event := loader.get_event(), yaml.StreamEndEvent):
            yield event
    finally:
        loader.dispose()


def read_one(content: str | bytes, source: str = "") -> object:
    """The only document of a text; None where there is none.

    Raises:
        YamlError: as `read`, and where there are several.
    """
    documents = list(read(content, source))
    if len(documents) > 1:
        raise YamlError("there is a second document, and one is expected", documents[1].line, source)
    return documents[0].value if documents else None


def content_of(path: Path) -> bytes:
    """The content of a file, cut soon after what `read` takes.

    Raises:
        OSError: when it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def read_file(path: Path) -> Iterator[Document]:
    """The documents of a file that are not empty.

    Raises:
        OSError: when it cannot be read.
        YamlError: as `read`.
    """
    return read(content_of(path), str(path))


def _with_last_newline(content: str | bytes) -> str | bytes:
    """The text as kubectl hands it on: a block scalar at its very end keeps its newline."""
    if isinstance(content, str):
        return content if content.endswith("\n") else content + "\n"
    return content if content.endswith(b"\n") or content.startswith(_UTF_16) else content + b"\n"


def _line_of(content: str | bytes, position: int) -> int:
    newlines = content.count("\n", 0, position) if isinstance(content, str) else content.count(b"\n", 0, position)
    return newlines + 1
