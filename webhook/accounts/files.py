"""ServiceAccounts from YAML manifests, for running without a cluster."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic
from typing import Final

from azure_workload_identity.kube_yaml import manifests, reader
from azure_workload_identity.types import JsonObject
from webhook.admission.identity import Account
from webhook.admission.reasons import quoted

CHECK_SECONDS: Final = 0.1
MAX_FILES: Final = 1000

# Changes when a file does: path, modification time in ns, size in bytes, inode.
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

    def cached(self, namespace: str, name: str) -> Account | None:
        """The account of that namespace and name, from the files as they are now."""
        self._refresh()
        return self._accounts.get((namespace, name))

    async def find(self, namespace: str, name: str) -> Account | None:
        """The same."""
        return self.cached(namespace, name)

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
        OSError, ValueError: when something cannot be read or is not a manifest.
    """
    return accounts_in(document.value for file in _files(path) for document in reader.read_file(file))


def accounts_in(documents: Iterable[object], namespace: str = "default") -> dict[Key, Account]:
    """Every ServiceAccount among decoded manifests, by namespace (`namespace` where it names none) and name.

    Raises:
        ValueError: when a label or an annotation of one is not a string, which an API server refuses.
    """
    accounts: dict[Key, Account] = {}
    for metadata in _service_account_metadata(documents):
        key = metadata.get("namespace") or namespace, metadata["name"]
        for field in ("labels", "annotations"):
            _check_strings(metadata, field, "/".join(key))
        accounts[key] = Account.from_metadata(metadata)
    return accounts


def _files(path: Path) -> list[Path]:
    return manifests.files(path)[:MAX_FILES]


def _signature(path: Path) -> Signature:
    stats = ((file, file.stat()) for file in _files(path))
    return tuple((str(file), stat.st_mtime_ns, stat.st_size, stat.st_ino) for file, stat in stats)


def _service_account_metadata(documents: Iterable[object]) -> Iterator[JsonObject]:
    for document in documents:
        for _, manifest in manifests.objects(document):
            metadata = manifest.get("metadata")
            if manifest.get("kind") == "ServiceAccount" and isinstance(metadata, dict) and _is_named(metadata):
                yield metadata


def _is_named(metadata: JsonObject) -> bool:
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return isinstance(name, str) and bool(name) and isinstance(namespace, str | None)


def _check_strings(metadata: JsonObject, field: str, name: str) -> None:
    texts = metadata.get(field) or {}
    if not isinstance(texts, dict):
        raise ValueError(f"ServiceAccount {name}: metadata.{field} must be a map")  # noqa: TRY004  a fault of the file
    for key, value in texts.items():
        if not isinstance(value, str | None):
            raise ValueError(  # noqa: TRY004  a fault of the file
                f"ServiceAccount {name}: metadata.{field}[{quoted(key)}] must be a string, "
                f"not {quoted(value)}: put it in quotes"
            )
