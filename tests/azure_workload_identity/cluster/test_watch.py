"""Following objects through whatever an API server answers."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import pytest

from azure_workload_identity.cluster import client, watch
from azure_workload_identity.cluster.client import Cluster
from azure_workload_identity.cluster.watch import MetadataOnly, Resource, SingleObjectHandler, Stored, Watch
from testbed.processes import MAX_WAIT_SECONDS, until_in_loop
from tests.support.apiserver import Answers, answering

ACCOUNTS = Resource("/api/v1/serviceaccounts", MetadataOnly)


class Names:
    """A handler that keeps names."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.lists = 0
        self._coming: set[str] | None = None

    def apply(self, item: MetadataOnly) -> None:
        """Keep a name."""
        (self.names if self._coming is None else self._coming).add(item.metadata.name)

    def delete(self, namespace: str, name: str) -> None:
        """Forget a name."""
        assert namespace == "shop"
        self.names.discard(name)

    def list_started(self) -> None:
        """Start again."""
        self._coming = set()

    def list_finished(self) -> None:
        """Take the new list."""
        self.names, self._coming = self._coming or set(), None
        self.lists += 1


def account(name: str, version: int = 1) -> dict[str, object]:
    """Write an account's metadata."""
    return {"metadata": {"namespace": "shop", "name": name, "resourceVersion": str(version)}}


def listed(*names: str, version: int = 1, page: str = "") -> bytes:
    """Write a page of a list."""
    metadata = {"resourceVersion": str(version), "continue": page}
    return json.dumps({"metadata": metadata, "items": [account(name) for name in names]}).encode()


def events(*each: tuple[str, object]) -> bytes:
    """Write what a watch says, a line each."""
    return b"".join(json.dumps({"type": kind, "object": item}).encode() + b"\n" for kind, item in each)


async def ended(task: "asyncio.Task[None]") -> None:
    """End a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def followed(
    answers: Answers, directory: Path, until: Callable[[Names, list[str]], bool]
) -> tuple[Names, list[str], Watch[MetadataOnly]]:
    """Follow until something is so; the handler, the reasons of new starts, and the watch."""
    kept, reasons = Names(), list[str]()

    async def run() -> Watch[MetadataOnly]:
        with answering(answers, directory) as kubeconfig:
            cluster = await Cluster.connect(str(kubeconfig))
            following = Watch(cluster, ACCOUNTS, kept, lambda resource, reason: reasons.append(f"{resource} {reason}"))
            task = asyncio.create_task(following.run())
            try:
                await until_in_loop(lambda: until(kept, reasons))
            finally:
                await ended(task)
                await cluster.close()
            return following

    return kept, reasons, asyncio.run(run())


def test_pages_then_events(tmp_path: Path) -> None:
    """A list is read page by page, and what happens after it comes by the watch from its version on."""
    script = [
        (200, listed("a", "b", page="next")),
        (200, listed("c", version=7)),
        (200, events(("ADDED", account("d", 8)), ("DELETED", account("a", 9)), ("MODIFIED", account("b", 10)))),
        (200, events(("BOOKMARK", {"metadata": {"resourceVersion": "50"}}))),
    ]
    answers = Answers(200, b"", script=script)
    kept, reasons, following = followed(answers, tmp_path, lambda *_: len(answers.asked) > 4)
    assert kept.names == {"b", "c", "d"}
    assert (kept.lists, reasons) == (1, [])
    asked = [path for path, _ in answers.asked]
    assert "limit=500" in asked[0]
    assert "continue=next" in asked[1]
    assert "resourceVersion=7" in asked[2]
    assert "allowWatchBookmarks=true" in asked[2]
    assert "resourceVersion=10" in asked[3]
    assert "resourceVersion=50" in asked[4]
    assert answers.asked[0][1]["Accept"] == "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    assert following.staleness is not None
    assert following.staleness < MAX_WAIT_SECONDS


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ((410, b"{}"), "expired"),
        ((200, events(("ERROR", {"code": 410, "reason": "Expired"}))), "expired"),
        ((200, events(("ERROR", {"code": 500}))), "500"),
        ((403, b"{}"), "denied"),
        ((500, b"{}"), "500"),
        ((429, b"{}"), "429"),
        ((200, b"<html>\n"), "malformed"),
        ((200, events(("ADDED", [1]))), "malformed"),
    ],
)
def test_lists_anew(tmp_path: Path, broken: tuple[int, bytes], reason: str) -> None:
    """After a watch that cannot go on everything is listed again, and what was missed is made good."""
    answers = Answers(200, b"", script=[(200, listed("a", "gone")), broken, (200, listed("a", "new", version=9))])
    kept, reasons, _ = followed(answers, tmp_path, lambda kept, _: kept.lists == 2)
    assert kept.names == {"a", "new"}
    assert reasons[0] == f"serviceaccounts {reason}"


def test_slow_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page may take longer than an admission waits: the list is complete without a restart."""
    monkeypatch.setattr(client, "READ_SECONDS", 0.0)
    answers = Answers(200, b"", script=[(200, listed("a", page="next")), (200, listed("b", version=7))])
    kept, reasons, _ = followed(answers, tmp_path, lambda kept, _: kept.lists == 1)
    assert (kept.names, reasons) == ({"a", "b"}, [])


def large(name: str, size: int, version: int = 1) -> dict[str, object]:
    """Write an account's metadata with an annotation of so many letters."""
    item: dict[str, Any] = account(name, version)
    item["metadata"]["annotations"] = {"azure.workload.identity/client-id": "x" * size}
    return item


class Pages(Answers):
    """Answers lists of accounts in pages of the size that is asked for, and watches with events."""

    def __init__(self, items: list[dict[str, object]], happened: bytes = b"") -> None:
        super().__init__()
        self.items = items
        self.happened = happened
        self.sizes: list[int] = []

    def next(self) -> tuple[int, bytes]:
        """Return a page."""
        query = parse_qs(urlsplit(self.asked[-1][0]).query)
        if "watch" in query:
            return 200, self.happened
        start, size = int(query.get("continue", ["0"])[0]), int(query["limit"][0])
        self.sizes.append(size)
        token = str(start + size) if start + size < len(self.items) else ""
        page = {"metadata": {"resourceVersion": "1", "continue": token}, "items": self.items[start : start + size]}
        return 200, json.dumps(page).encode()


def test_large_objects(tmp_path: Path) -> None:
    """Pages shrink to what may be read, and grow again; nobody's objects keep others' from being seen."""
    items = [large(f"large{number}", 100_000) for number in range(150)]
    items += [account(f"small{number}") for number in range(1500)]
    pages = Pages(items, events(("ADDED", large("event", 1_000_000, 8)), ("ADDED", account("last", 9))))
    names, reasons, _ = followed(pages, tmp_path, lambda names, _: "last" in names.names)
    assert names.names == {"event", "last"} | {str(cast("Any", item)["metadata"]["name"]) for item in items}
    assert (names.lists, reasons) == (1, [])
    assert min(pages.sizes) * 100_000 < watch.MAX_PAGE_BYTES < max(pages.sizes) * 100_000
    assert pages.sizes[-1] > min(pages.sizes)


def test_object_beyond_every_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of one object has the bound of an object, which nothing that etcd stores exceeds."""
    monkeypatch.setattr(watch, "MAX_PAGE_BYTES", 10_000)
    pages = Pages([large("a", 50_000), account("b")])
    names, _, _ = followed(pages, tmp_path, lambda names, _: names.lists == 1)
    assert names.names == {"a", "b"}


@pytest.mark.parametrize(
    "pages",
    [
        [listed("a", page="same")] * 2,
        [listed("a", page="1"), *(listed(page=f"{number}") for number in range(2, 20))],
    ],
    ids=["the same token", "empty pages"],
)
def test_list_without_an_end(tmp_path: Path, pages: list[bytes]) -> None:
    """A list that does not end is a failure, after which the watch waits; what was known before stays."""
    answers = Answers(200, listed("b"), script=[(200, page) for page in pages])
    _, reasons, _ = followed(answers, tmp_path, lambda _, reasons: bool(reasons))
    assert reasons[0] == "serviceaccounts malformed"


def test_endless_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does a list with more objects than any cluster."""
    monkeypatch.setattr(watch, "MAX_OBJECTS", 20)
    pages = [(200, listed(f"a{number}", page=f"{number}")) for number in range(1, 30)]
    _, reasons, _ = followed(Answers(200, b"", script=pages), tmp_path, lambda _, reasons: bool(reasons))
    assert reasons[0] == "serviceaccounts malformed"


def test_not_current_while_listing(tmp_path: Path) -> None:
    """Pages that arrive do not make the handler current; only a complete list does."""
    answers = Answers(500, b"{}", script=[(200, listed("a", page="next")), (500, b"{}")])
    _, _, following = followed(answers, tmp_path, lambda _, reasons: bool(reasons))
    assert following.staleness is None


@pytest.mark.parametrize("broken", [(500, b"{}"), (403, b"{}"), (410, b"{}"), (200, b"[]"), (200, b'{"items": 1}')])
def test_broken_list(tmp_path: Path, broken: tuple[int, bytes]) -> None:
    """A list that fails in the middle is begun again from its first page."""
    answers = Answers(200, b"", script=[(200, listed("a", page="next")), broken, (200, listed("b"))])
    kept, _, _ = followed(answers, tmp_path, lambda kept, _: kept.lists == 1)
    assert kept.names == {"b"}


def test_lost_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    """When an API server is not there the watch waits, and neither forgets nor lists."""
    kept, reasons = Names(), list[str]()
    answers = Answers(200, b"", script=[(200, listed("a", version=4))])

    async def run() -> None:
        with answering(answers, tmp_path) as kubeconfig:
            cluster = await Cluster.connect(str(kubeconfig))
            following = Watch(cluster, ACCOUNTS, kept, lambda _, reason: reasons.append(reason))
            task = asyncio.create_task(following.run())
            await until_in_loop(lambda: kept.lists)
        await until_in_loop(lambda: "unavailable" in reasons)
        await ended(task)
        await cluster.close()

    asyncio.run(run())
    assert kept.names == {"a"}
    assert kept.lists == 1


def test_waits_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An API server that fails is asked ever more seldom, up to a bound."""
    waits: list[float] = []

    async def short(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    # Of that module only: servers in other threads sleep too.
    monkeypatch.setattr(watch, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": short}))
    answers = Answers(500)
    _followed_with_failures(answers, tmp_path, waits)
    assert max(waits) <= 1.5 * watch.LONGEST_WAIT
    assert max(waits) > watch.LONGEST_WAIT / 2
    assert waits[0] <= 1.5 * watch.FIRST_WAIT


def _followed_with_failures(answers: Answers, directory: Path, waits: list[float]) -> None:
    async def run() -> None:
        with answering(answers, directory) as kubeconfig:
            cluster = await Cluster.connect(str(kubeconfig))
            task = asyncio.create_task(Watch(cluster, ACCOUNTS, Names(), lambda *_: None).run())
            while len(waits) < 12:
                await asyncio.wait({task}, timeout=0.01)
            await ended(task)
            await cluster.close()

    asyncio.run(run())


def test_one_object() -> None:
    """Of a single object only that one is asked for, so that a role may name it."""
    resource = Resource("/api/v1/namespaces/system/secrets", Stored, "certificates")
    assert (
        resource.url(limit=1) == "/api/v1/namespaces/system/secrets?limit=1&fieldSelector=metadata.name%3Dcertificates"
    )
    assert resource.accept("PartialObjectMetadata") == "application/json"
    assert resource.title == "secrets"


def test_one_object_that_a_list_lacks(tmp_path: Path) -> None:
    """A single object that is not in the list any more is gone, though no event said so."""
    deleted: list[str] = []

    class One(SingleObjectHandler):
        def apply(self, item: MetadataOnly) -> None:
            """Note nothing."""

        def delete(self, namespace: str, name: str) -> None:
            """Note its end."""
            deleted.append(f"{namespace}/{name}")

    async def run() -> None:
        script = [(200, listed("web")), (410, b"{}"), (200, listed())]
        with answering(Answers(200, b"", script=script), tmp_path) as kubeconfig:
            cluster = await Cluster.connect(str(kubeconfig))
            resource = Resource(ACCOUNTS.path, MetadataOnly, "web")
            task = asyncio.create_task(Watch(cluster, resource, One(), lambda *_: None).run())
            await until_in_loop(lambda: deleted)
            await ended(task)
            await cluster.close()

    asyncio.run(run())
    assert deleted == ["/web"]


def test_no_secret_in_a_representation() -> None:
    """What a Secret holds is not shown."""
    stored = Stored(watch.ObjectMeta(name="certificates", namespace="system"), {"tls.key": "c2VjcmV0"})
    assert repr(stored) == "Stored(system/certificates)"
