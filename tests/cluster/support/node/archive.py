"""An image of one layer as a docker-archive, packed without a builder: plain tar and JSON."""

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
    layer = _tar((path, file.content, file.mode) for path, file in files.items())
    digest = hashlib.sha256(layer).hexdigest()
    image = {
        "architecture": "amd64",
        "os": "linux",
        "config": dict(config),
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [f"{digest}.tar"]}]
    parts = {
        "manifest.json": json.dumps(manifest).encode(),
        "config.json": json.dumps(image).encode(),
        f"{digest}.tar": layer,
    }
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
