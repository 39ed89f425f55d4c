"""Reads a docker-archive: what `docker save`, `podman save` and `buildah push ... docker-archive:` write."""

import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Image:
    """A docker-archive: its configuration, and every file in it by path; the last layer wins."""

    archive: Path
    config: dict[str, Any]
    files: dict[str, tarfile.TarInfo]

    @classmethod
    def read(cls, archive: Path) -> "Image":
        """Read configuration and listing. The image is built from scratch, so no layer removes a file."""
        with tarfile.open(archive) as outer:
            config = json.load(_member(outer, _manifest(outer)["Config"]))
            files: dict[str, tarfile.TarInfo] = {}
            for layer in _layers(outer):
                files |= {_name(member): member for member in layer}
        return cls(archive, config["config"], files)

    def unpack(self, root: Path) -> None:
        """Unpack every layer with owners and modes, and create the mount points that a runtime needs."""
        root.mkdir(parents=True)
        with tarfile.open(self.archive) as outer:
            for layer in _layers(outer):
                layer.extractall(root, numeric_owner=True, filter="fully_trusted")  # noqa: S202  our own image
        for name in ("proc", "sys", "dev"):
            (root / name).mkdir(exist_ok=True)

    def contents(self, pattern: re.Pattern[str]) -> dict[str, bytes]:
        """Return the content of every regular file whose whole path matches; the last layer wins."""
        found = {}
        with tarfile.open(self.archive) as outer:
            for layer in _layers(outer):
                for member in layer:
                    name = _name(member)
                    if member.isfile() and pattern.fullmatch(name) and (file := layer.extractfile(member)):
                        found[name] = file.read()
        return found

    def text(self, name: str) -> str:
        """Return the text of one file."""
        return self.contents(re.compile(re.escape(name)))[name].decode()


def _name(member: tarfile.TarInfo) -> str:
    return member.name.removeprefix("./").rstrip("/")


def _manifest(outer: tarfile.TarFile) -> dict[str, Any]:
    manifests: list[dict[str, Any]] = json.load(_member(outer, "manifest.json"))
    return manifests[0]


def _member(outer: tarfile.TarFile, name: str) -> Any:  # noqa: ANN401  a file that json and tarfile read
    return outer.extractfile(name)


def _layers(outer: tarfile.TarFile) -> Iterator[tarfile.TarFile]:
    for name in _manifest(outer)["Layers"]:
        with tarfile.open(fileobj=_member(outer, name)) as layer:
            yield layer
