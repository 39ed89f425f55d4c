"""Reads Kubernetes manifests from files, directories and stdin."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from azure_workload_identity.kube_yaml import reader
from azure_workload_identity.kube_yaml.manifests import SUFFIXES, files
from azure_workload_identity.types import JsonObject
from azwi_cli.console.errors import CommandError
from azwi_cli.offline.mapping import is_mapping

STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class Manifests:
    """The objects of some files, and one sentence for each document of a directory that is not an object."""

    objects: tuple[JsonObject, ...] = ()
    skipped: tuple[str, ...] = ()


def read(names: Iterable[str]) -> Manifests:
    """Every document of files, of the files in directories, and of stdin (-).

    In a directory, what is not an object is skipped and reported, except for an identity mapping, which may be there.

    Raises:
        CommandError: when something cannot be read or, given by its name, is not a manifest.
    """
    objects: list[JsonObject] = []
    skipped: list[str] = []
    for name in names:
        in_directory = name != STDIN and Path(name).is_dir()
        for file in _files(name):
            for document in _documents(file):
                value, place = document.value, f"{_shown(file)}:{document.line}"
                if isinstance(value, dict) and isinstance(value.get("kind"), str):
                    objects.append(value)
                elif not in_directory:
                    hint = "give it with --identity-mapping" if is_mapping(value) else "it should have a kind"
                    raise CommandError(f"{place}: this document is not a Kubernetes object", hint)
                elif not is_mapping(value):
                    skipped.append(f"{place}: skipped, since it is not a Kubernetes object (it has no kind)")
    return Manifests(tuple(objects), tuple(skipped))


def _files(name: str) -> list[str]:
    if name == STDIN:
        return [name]
    try:
        found = [str(file) for file in files(Path(name))]
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}") from error
    if not found:
        raise CommandError(f"{name} has no manifests", f"their names end in {', '.join(sorted(SUFFIXES))}")
    return found


def _documents(name: str) -> Iterator[reader.Document]:
    try:
        with click.open_file(name, "rb") as file:
            content = file.read(reader.MAX_BYTES + 1)
        yield from reader.read(content, _shown(name))
    except OSError as error:
        raise CommandError(
            f"{_shown(name)} cannot be read: {error.strerror}", "-f takes a file, a directory or -"
        ) from error
    except reader.YamlError as error:
        raise CommandError(f"{error}") from error


def _shown(name: str) -> str:
    return "stdin" if name == STDIN else name
