"""Kubernetes manifests in files: those of a file or a directory, their documents, and the objects in a List."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from azure_workload_identity.types import JsonObject

SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


def files(path: Path) -> list[Path]:
    """The path itself, or where it is a directory the manifests directly in it, by name.

    Raises:
        OSError: when the directory cannot be read.
    """
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)


def objects(document: object) -> Iterator[tuple[str, JsonObject]]:
    """The objects of a document with their JSON pointers: itself, or those of a List, also of a List in it."""
    if not isinstance(document, dict):
        return
    items = document.get("items")
    if not (str(document.get("kind", "")).endswith("List") and isinstance(items, list)):
        yield "", document
        return
    for index, item in enumerate(items):
        yield from ((f"/items/{index}{pointer}", found) for pointer, found in objects(item))
