"""Where the documents of an issuer are published: a directory that a web server serves, or a static site in Azure."""

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, Protocol
from urllib.parse import urlsplit

from azwi_cli.azure.blobs import Blob, ChangedError, Container
from azwi_cli.console.dry_run import Plan
from azwi_cli.console.errors import CommandError
from azwi_cli.issuer.keys import MAX_BYTES

CONTENT_TYPE: Final = "application/json"
# A CDN in front of the site serves a new key after that many seconds at most.
CACHE_CONTROL: Final = "public, max-age=300"
AGAIN: Final = "run it again: it reads the present documents, and keeps the keys that the other run has published"


class Destination(Protocol):
    """A place for documents; `path` is that below the issuer, such as `/openid/v1/jwks`."""

    # Whether what is published there can be read at the issuer's URL at once.
    served: bool

    def where(self, path: str) -> str:
        """The address or file of a document."""
        ...

    def read(self, path: str) -> bytes | None:
        """The document that is published; None when there is none.

        Raises:
            CommandError: when it cannot be read.
        """
        ...

    def write(self, path: str, content: bytes) -> bool:
        """Publish a document that was read before in place of what was read; False when it is so already.

        Raises:
            CommandError: when it cannot be written, or is no longer what was read.
        """
        ...


@dataclass
class Directory:
    """A directory that is served at the issuer's URL; documents are replaced at once, never half written."""

    root: Path
    plan: Plan | None = None
    served: bool = False
    _read: dict[str, bytes | None] = field(default_factory=dict)

    def where(self, path: str) -> str:
        """The file."""
        return str(self._file(path))

    def read(self, path: str) -> bytes | None:
        """See `Destination`."""
        file = self._file(path)
        try:
            with file.open("rb") as opened:
                content = opened.read(MAX_BYTES + 1)
        except FileNotFoundError:
            self._read[path] = None
            return None
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror}") from error
        if len(content) > MAX_BYTES:
            raise CommandError(f"{file} is larger than {MAX_BYTES >> 10} KiB", "is it the right directory?")
        self._read[path] = content
        return content

    def write(self, path: str, content: bytes) -> bool:
        """See `Destination`."""
        if self._read[path] == content:
            return False
        if self.plan is not None:
            self.plan.add("WRITE", self.where(path), json.loads(content))
            return True
        file = self._file(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            _replace(file, content)
        except OSError as error:
            raise CommandError(f"{file} cannot be written: {error.strerror}") from error
        return True

    def _file(self, path: str) -> Path:
        return self.root / path.lstrip("/")


@dataclass
class Site:
    """The static site of a storage account, or a container that something else serves; the issuer's path is kept.

    Args:
        container: the one that is served.
        issuer: whose documents they are.
        plan: collects writes instead of sending them.
    """

    container: Container
    issuer: str
    plan: Plan | None = None
    served: bool = True
    _read: dict[str, Blob | None] = field(default_factory=dict)

    def where(self, path: str) -> str:
        """The blob's address."""
        return self.container.url(self._name(path))

    def read(self, path: str) -> bytes | None:
        """See `Destination`."""
        found = self._read[path] = self.container.get(self._name(path))
        return None if found is None else found.content

    def write(self, path: str, content: bytes) -> bool:
        """See `Destination`."""
        before, name = self._read[path], self._name(path)
        wanted = Blob(content, CONTENT_TYPE, CACHE_CONTROL)
        if _serves(before, wanted):
            return False
        if self.plan is not None:
            self.plan.add("PUT", self.where(path), json.loads(content))
            return True
        try:
            self.container.put(name, wanted, before)
        except ChangedError as error:
            # A repeated request may have found its own blob.
            if not _serves(self.container.get(name), wanted):
                raise CommandError(f"{self.where(path)} was changed meanwhile: {error.message}", AGAIN) from error
        return True

    def _name(self, path: str) -> str:
        return f"{urlsplit(self.issuer).path.rstrip('/')}{path}".lstrip("/")


def _serves(blob: Blob | None, wanted: Blob) -> bool:
    return blob is not None and (blob.content, blob.content_type, blob.cache_control) == (
        wanted.content,
        wanted.content_type,
        wanted.cache_control,
    )


def _replace(file: Path, content: bytes) -> None:
    with NamedTemporaryFile(dir=file.parent, prefix=f".{file.name}.", delete=False) as new:
        try:
            new.write(content)
            new.flush()
            Path(new.name).chmod(0o644)
            os.replace(new.name, file)  # noqa: PTH105  atomic on the same file system
        except BaseException:
            with suppress(OSError):
                Path(new.name).unlink()
            raise
