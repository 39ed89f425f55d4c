"""ServiceAccounts of a cluster: a watched cache, and live reads for accounts that it does not hold."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import orjson

from azure_workload_identity import names
from azure_workload_identity.cluster.client import DENIED, NOT_FOUND, OK, Cluster, ClusterUnavailableError, Limits
from azure_workload_identity.cluster.hedging import hedged_get
from azure_workload_identity.cluster.watch import MetadataOnly, Resource
from azure_workload_identity.types import JsonObject
from webhook.admission.identity import Account, AccountsUnavailableError

SERVICE_ACCOUNTS: Final = Resource("/api/v1/serviceaccounts", MetadataOnly)
# https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches
METADATA_ONLY: Final = SERVICE_ACCOUNTS.accept("PartialObjectMetadata")
# Short of the chart's webhook.timeoutSeconds, so that the answer, not the API server's wait, ends the call.
FIND_SECONDS: Final = 4.0

Key = tuple[str, str]


class AccountCache:
    """The accounts that have a client id, by namespace and name; of other accounts nothing is kept.

    Most of them have nothing but a client id and are kept as that one string, so that 50,000 accounts fit.
    """

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Account | str]] = {}
        self._pending: dict[str, dict[str, Account | str]] | None = None

    def __len__(self) -> int:
        """How many accounts are kept."""
        return sum(map(len, self._known.values()))

    def find(self, namespace: str, name: str) -> Account | None:
        """The account, or None when it is not kept."""
        kept = self._known.get(namespace, {}).get(name)
        return Account(client_id=kept) if isinstance(kept, str) else kept

    def apply(self, item: MetadataOnly) -> None:
        """Keep a new or changed account, or forget it where it has no client id any more."""
        meta = item.metadata
        # Checked first: most accounts of a cluster have no client id, and to read the whole account costs more.
        if not (meta.annotations or {}).get(names.CLIENT_ID, "").strip():
            self.delete(meta.namespace, meta.name)
            return
        account = Account.from_metadata({"annotations": meta.annotations, "labels": meta.labels})
        kept: Account | str = account.client_id if account == Account(client_id=account.client_id) else account
        if self._pending is not None:
            self._pending.setdefault(meta.namespace, {})[meta.name] = kept
        else:
            self._known.setdefault(meta.namespace, {})[meta.name] = kept

    def delete(self, namespace: str, name: str) -> None:
        """Forget an account."""
        accounts = self._known.get(namespace, {})
        if self._pending is None and accounts.pop(name, None) is not None and not accounts:
            del self._known[namespace]

    def list_started(self) -> None:
        """Collect a new list; until it is complete, lookups use the one before it."""
        self._pending = {}

    def list_finished(self) -> None:
        """The new list is complete and replaces the one before it."""
        if self._pending is not None:
            self._known, self._pending = self._pending, None


class _Read:
    """A live read, for all admissions that came before it was sent: what they do not see was written after them."""

    def __init__(self, read: Callable[[float], Awaitable[Account | None]], before: "_Read | None") -> None:
        """Call `read` with the seconds that are left, once the read `before` this one has ended."""
        self.is_sent = False
        self.task: asyncio.Task[Account | None] = asyncio.create_task(self._run(read, before))

    async def _run(self, read: Callable[[float], Awaitable[Account | None]], before: "_Read | None") -> Account | None:
        deadline = asyncio.get_running_loop().time() + FIND_SECONDS
        if before is not None:
            await before.task  # raises its error: what failed now would fail again
        self.is_sent = True
        return await read(deadline - asyncio.get_running_loop().time())


class ClusterAccounts:
    """Accounts from the cache, and from a live read where the cache has none: one read at a time for an account.

    So an account counts as soon as the API server has it, and before the first list is complete; and the next pod has
    a client id that was added to an account, however many pods read it before. `on_live_read` is called with the result
    of every live read: found, missing or failed.
    """

    def __init__(self, cluster: Cluster, cache: AccountCache, on_live_read: Callable[[str], None]) -> None:
        self._cluster = cluster
        self._cache = cache
        self._on_live_read = on_live_read
        self._reads: dict[Key, _Read] = {}

    def cached(self, namespace: str, name: str) -> Account | None:
        """The account, or None when it must be read."""
        return self._cache.find(namespace, name)

    async def find(self, namespace: str, name: str) -> Account | None:
        """The account; both names must have been checked, they become a URL's path.

        Raises:
            AccountsUnavailableError: when the API server does not answer within FIND_SECONDS.
        """
        known = self._cache.find(namespace, name)
        if known is not None:
            return known
        key = (namespace, name)
        read = self._reads.get(key)
        if read is None or read.is_sent:
            read = self._reads[key] = _Read(partial(self._live, namespace, name), read)
            read.task.add_done_callback(partial(self._forget, key, read))
        return await asyncio.shield(read.task)

    async def close(self) -> None:
        """Cancel the reads that are under way."""
        for read in self._reads.values():
            read.task.cancel()

    def _forget(self, key: Key, read: _Read, done: "asyncio.Task[Account | None]") -> None:
        # Retrieved here, since every admission that waited may be gone: asyncio logs exceptions that nobody retrieves.
        if not done.cancelled():
            done.exception()
        if self._reads.get(key) is read:
            del self._reads[key]

    async def _live(self, namespace: str, name: str, seconds: float) -> Account | None:
        try:
            account = await self._read(namespace, name, seconds)
        except AccountsUnavailableError:
            self._on_live_read("failed")
            raise
        self._on_live_read("missing" if account is None else "found")
        return account

    async def _read(self, namespace: str, name: str, seconds: float) -> Account | None:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"
        try:
            answer = await hedged_get(self._cluster, path, METADATA_ONLY, Limits(seconds=seconds))
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
