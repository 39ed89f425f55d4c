"""ServiceAccounts of a cluster: a watched cache, and a live read for what it cannot tell."""

import asyncio
from collections.abc import Callable
from typing import Final

import orjson

from azure_workload_identity import names
from azure_workload_identity.cluster.client import DENIED, NOT_FOUND, OK, Cluster, ClusterUnavailableError
from azure_workload_identity.cluster.watch import MetadataOnly, Resource
from azure_workload_identity.types import JsonObject
from webhook.admission.identity import Account, AccountsUnavailableError

SERVICE_ACCOUNTS: Final = Resource("/api/v1/serviceaccounts", MetadataOnly)
# https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
METADATA_ONLY: Final = SERVICE_ACCOUNTS.accept("PartialObjectMetadata")
# How long a live read answers for those that come after it. The watch is milliseconds behind the API server, so
# this, and not the watch, bounds how late a change can be seen.
RECENT_SECONDS: Final = 0.2

Key = tuple[str, str]


class AccountCache:
    """The accounts that have a client id, by namespace and name; of others nothing is kept.

    Most have nothing but a client id, and are kept as that one string: 50,000 accounts are to fit.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Account | str]] = {}
        self._coming: dict[str, dict[str, Account | str]] | None = None

    def __len__(self) -> int:
        """How many accounts are kept."""
        return sum(map(len, self._known.values()))

    def find(self, namespace: str, name: str) -> Account | None:
        """The account, or None when it is not kept."""
        kept = self._known.get(namespace, {}).get(name)
        return Account(client_id=kept) if isinstance(kept, str) else kept

    def apply(self, item: MetadataOnly) -> None:
        """Keep an account, or what a change left of it."""
        meta = item.metadata
        # Asked first: most accounts of a cluster have none, and reading all of an account costs more.
        if not (meta.annotations or {}).get(names.CLIENT_ID, "").strip():
            self.delete(meta.namespace, meta.name)
            return
        account = Account.from_metadata({"annotations": meta.annotations, "labels": meta.labels})
        kept: Account | str = account.client_id if account == Account(client_id=account.client_id) else account
        if self._coming is not None:
            self._coming.setdefault(meta.namespace, {})[meta.name] = kept
        else:
            self._known.setdefault(meta.namespace, {})[meta.name] = kept

    def delete(self, namespace: str, name: str) -> None:
        """Forget an account."""
        accounts = self._known.get(namespace, {})
        if self._coming is None and accounts.pop(name, None) is not None and not accounts:
            del self._known[namespace]

    def list_started(self) -> None:
        """Gather a new list; until it is complete the one before it answers."""
        self._coming = {}

    def list_finished(self) -> None:
        """The new list is complete and replaces the one before it."""
        if self._coming is not None:
            self._known, self._coming = self._coming, None


class ClusterAccounts:
    """Accounts by the cache; those it does not have by a live read, one at a time for each account.

    So an account counts from the moment in which the API server has it, and from the first second of the process.
    `told` hears of each live read: found, missing or failed.
    """

    def __init__(self, cluster: Cluster, cache: AccountCache, told: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._told = told
        self._reads: dict[Key, asyncio.Task[Account | None]] = {}

    async def find(self, namespace: str, name: str) -> Account | None:
        """The account; both names must have been checked, they become a URL's path.

        Raises:
            AccountsUnavailableError: when the API server does not tell within READ_SECONDS.
        """
        known = self._cache.find(namespace, name)
        if known is not None:
            return known
        key = (namespace, name)
        read = self._reads.get(key)
        if read is None:
            read = self._reads[key] = asyncio.create_task(self._live(namespace, name))
            read.add_done_callback(lambda done: self._forget_soon(key, done))
        return await asyncio.shield(read)

    async def close(self) -> None:
        """End what is still being read."""
        for read in self._reads.values():
            read.cancel()

    def _forget_soon(self, key: Key, done: "asyncio.Task[Account | None]") -> None:
        # Whoever waited may have gone away; then nobody else takes the exception.
        if not done.cancelled():
            done.exception()
        asyncio.get_running_loop().call_later(RECENT_SECONDS, self._reads.pop, key, None)

    async def _live(self, namespace: str, name: str) -> Account | None:
        try:
            account = await self._read(namespace, name)
        except AccountsUnavailableError:
            self._told("failed")
            raise
        self._told("missing" if account is None else "found")
        return account

    async def _read(self, namespace: str, name: str) -> Account | None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        try:
            answer = await self._cluster.get(path, METADATA_ONLY)
        except ClusterUnavailableError as error:
            raise AccountsUnavailableError(str(error)) from error
        if answer.status == NOT_FOUND:
            return None
        if answer.status in DENIED:
            raise AccountsUnavailableError(
                f"the API server does not let the webhook read ServiceAccount {namespace}/{name} "
                f"(HTTP {answer.status}): grant its own ServiceAccount get, list and watch on serviceaccounts"
            )
        if answer.status != OK:
            raise AccountsUnavailableError(f"the API server answered GET {path} with HTTP {answer.status}")
        return Account.from_metadata(_metadata(answer.body, path))


def _metadata(body: bytes, path: str) -> JsonObject:
    try:
        metadata = orjson.loads(body)["metadata"]
    except (ValueError, TypeError, LookupError):
        metadata = None
    if not isinstance(metadata, dict):
        raise AccountsUnavailableError(f"the API server's answer to GET {path} is no ServiceAccount")
    return metadata
