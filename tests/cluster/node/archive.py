"""Images as docker-archives, packed without a builder: plain tar and JSON."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class File:
    """A file of a layer."""

    content: bytes
    mode: int = 0o644


def pack(archive: Path, name: str, files: Mapping[str, File], config: Mapping[str, Any]) -> Path:
    """Write an image of one layer, and return its archive."""
    return _write(archive, name, {"architecture": "amd64", "os": "linux", "config": dict(config)}, [_layer(files)])


def extended(base: Path, archive: Path, name: str, files: Mapping[str, File], env: Mapping[str, str]) -> Path:
    """Write the image of another archive with one more layer and more variables, and return its archive."""
    with tarfile.open(base) as outer:
        (manifest,) = json.loads(_read(outer, "manifest.json"))
        config = json.loads(_read(outer, manifest["Config"]))
        layers = [_read(outer, layer) for layer in manifest["Layers"]]
    config["config"]["Env"] += [f"{key}={value}" for key, value in env.items()]
    return _write(archive, name, config, [*layers, _layer(files)])


def _read(outer: tarfile.TarFile, name: str) -> bytes:
    member = outer.extractfile(name)
    assert member is not None, name
    return member.read()


def _layer(files: Mapping[str, File]) -> bytes:
    return _tar((path, file.content, file.mode) for path, file in files.items())


def _write(archive: Path, name: str, config: dict[str, Any], layers: list[bytes]) -> Path:
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = {key: value for key, value in config.items() if key != "history"}
    config["rootfs"] = {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]}
    tars = [f"{digest}.tar" for digest in digests]
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": tars}]
    parts = {"manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(config).encode()}
    parts |= dict(zip(tars, layers, strict=True))
    archive.write_bytes(_tar((path, content, 0o644) for path, content in parts.items()))
    return archive


def _tar(files: Iterator[tuple[str, bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content, mode in files:
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
