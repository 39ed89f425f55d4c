"""ServiceAccounts from YAML manifests, for running without a cluster."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

import yaml

from azure_workload_identity.bounded_yaml import LOADER, bounded
from azure_workload_identity.types import JsonObject
from webhook.admission.identity import Account

CHECK_SECONDS: Final = 0.1
MAX_FILES: Final = 1000
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})

# Differs when a file has changed: path, modification time in ns, size in bytes, inode.
Signature = tuple[tuple[str, int, int, int], ...]
Key = tuple[str, str]

log = logging.getLogger(__name__)


class FileAccounts:
    """Accounts from one manifest file or from all in a directory; a change on disk counts within CHECK_SECONDS.

    Objects of other kinds are ignored, so that the files may be whole examples. While a file cannot be read, the
    accounts read before stay in use, and the log has the reason.

    Raises:
        OSError, ValueError: at first, when the path cannot be read or is not YAML.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._signature = _signature(path)
        self._accounts = load_accounts(path)
        self._checked = monotonic()

    async def find(self, namespace: str, name: str) -> Account | None:
        """The account of that namespace and name, as the files have it now."""
        self._refresh()
        return self._accounts.get((namespace, name))

    async def close(self) -> None:
        """Do nothing: no file is kept open."""

    def _refresh(self) -> None:
        now = monotonic()
        if now - self._checked < CHECK_SECONDS:
            return
        self._checked = now
        try:
            signature = _signature(self._path)
            if signature == self._signature:
                return
            self._signature = signature
            self._accounts = load_accounts(self._path)
        except (OSError, ValueError) as error:
            log.warning("ServiceAccount files cannot be read, the accounts known before stay: %s", error)


def load_accounts(path: Path) -> dict[Key, Account]:
    """Every ServiceAccount in a file or directory, by namespace and name.

    Raises:
        OSError, ValueError: when something cannot be read or is not YAML.
    """
    return accounts_in(document for file in _files(path) for document in _documents(file))


def accounts_in(documents: Iterable[object], namespace: str = "default") -> dict[Key, Account]:
    """Every ServiceAccount among decoded manifests, by namespace (`namespace` where it names none) and name."""
    return {
        (metadata.get("namespace") or namespace, metadata["name"]): Account.from_metadata(metadata)
        for metadata in _service_accounts(documents)
    }


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES)[:MAX_FILES]


def _signature(path: Path) -> Signature:
    stats = ((file, file.stat()) for file in _files(path))
    return tuple((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino) for file, stat in stats)


def _documents(file: Path) -> Iterator[object]:
    try:
        yield from yaml.load_all(bounded(file.read_bytes()), Loader=LOADER)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not YAML: {error}") from error


def _service_accounts(documents: Iterable[object]) -> Iterator[JsonObject]:
    for document in documents:
        if not isinstance(document, dict):
            continue
        items = document.get("items")
        if str(document.get("kind", "")).endswith("List") and isinstance(items, list):
            yield from _service_accounts(items)
        metadata = document.get("metadata")
        if document.get("kind") == "ServiceAccount" and isinstance(metadata, dict) and _is_named(metadata):
            yield metadata


def _is_named(metadata: JsonObject) -> bool:
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return isinstance(name, str) and bool(name) and isinstance(namespace, str | None)
