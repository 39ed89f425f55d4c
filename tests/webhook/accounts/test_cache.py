"""The watched cache of accounts."""

import asyncio
import json
from pathlib import Path

from azure_workload_identity import names
from azure_workload_identity.cluster.client import Cluster
from azure_workload_identity.cluster.watch import MetadataOnly, ObjectMeta
from tests.support.apiserver import Answers, answering
from webhook.accounts.cluster import AccountCache, ClusterAccounts
from webhook.admission.identity import Account

CLIENT = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"


def account(name: str, client_id: str = CLIENT, namespace: str = "shop", **annotations: str) -> MetadataOnly:
    """Write an account's metadata."""
    annotated = {names.CLIENT_ID: client_id, **annotations} if client_id else annotations
    return MetadataOnly(ObjectMeta(name, namespace, "1", annotated or None))


def test_annotated_accounts_are_kept() -> None:
    """An account with a client id is kept, with all that admission needs of it."""
    cache = AccountCache()
    cache.apply(account("web"))
    cache.apply(account("api", **{names.TENANT_ID: "contoso.test", names.TOKEN_EXPIRATION: "7200"}))
    assert cache.find("shop", "web") == Account(client_id=CLIENT)
    assert cache.find("shop", "api") == Account(CLIENT, "contoso.test", "7200")
    assert cache.find("other", "web") is None
    assert len(cache) == 2


def test_other_accounts_are_not() -> None:
    """Of an account without a client id, or with a blank one, nothing is kept."""
    cache = AccountCache()
    for item in (account("web", ""), account("api", "  "), account("job", "", other="x")):
        cache.apply(item)
    assert len(cache) == 0


def test_lost_annotation() -> None:
    """An account whose annotation is taken away is forgotten, and so is one that is deleted."""
    cache = AccountCache()
    cache.apply(account("web"))
    cache.apply(account("web", ""))
    cache.apply(account("api"))
    cache.delete("shop", "api")
    cache.delete("shop", "never-there")
    assert cache.find("shop", "web") is None
    assert len(cache) == 0


def test_a_list_replaces_what_was_known() -> None:
    """Until a new list is complete the old one answers; then what is not in it is gone."""
    cache = AccountCache()
    cache.apply(account("old"))
    cache.list_started()
    cache.apply(account("new"))
    cache.apply(account("old", "", namespace="elsewhere"))
    assert cache.find("shop", "old") is not None
    assert cache.find("shop", "new") is None
    cache.list_finished()
    assert cache.find("shop", "old") is None
    assert cache.find("shop", "new") is not None


def live(answers: Answers, directory: Path, cache: AccountCache, times: int) -> tuple[list[object], list[str]]:
    """Look an account up that many times at once, and then once more."""
    results: list[str] = []

    async def run() -> list[object]:
        with answering(answers, directory) as kubeconfig:
            cluster = await Cluster.connect(str(kubeconfig))
            accounts = ClusterAccounts(cluster, cache, results.append)
            found: list[object] = list(
                await asyncio.gather(*(accounts.find("shop", "web") for _ in range(times)), return_exceptions=True)
            )
            found += await asyncio.gather(accounts.find("shop", "web"), return_exceptions=True)
            await accounts.close()
            await cluster.close()
            return found

    return asyncio.run(run()), results


def test_cached_accounts_cost_no_read(tmp_path: Path) -> None:
    """Accounts in the cache are not read."""
    cache, answers = AccountCache(), Answers(500)
    cache.apply(account("web"))
    found, results = live(answers, tmp_path, cache, 3)
    assert found == [Account(client_id=CLIENT)] * 4
    assert (answers.asked, results) == ([], [])


def test_one_read_for_all_who_wait(tmp_path: Path) -> None:
    """However many admissions wait for an account, it is read once; the next admission reads it again."""
    body = json.dumps({"metadata": {"annotations": {names.CLIENT_ID: CLIENT}}}).encode()
    answers = Answers(200, body, seconds=0.05)
    found, results = live(answers, tmp_path, AccountCache(), 200)
    assert found == [Account(client_id=CLIENT)] * 201
    assert len(answers.asked) == 2
    assert results == ["found", "found"]


def test_missing_account(tmp_path: Path) -> None:
    """A missing account is looked up once, too."""
    found, results = live(Answers(404), tmp_path, AccountCache(), 50)
    assert found == [None] * 51
    assert results == ["missing", "missing"]


def test_failure_is_shared(tmp_path: Path) -> None:
    """A read that fails fails for all who wait, and is tried again later."""
    found, results = live(Answers(500), tmp_path, AccountCache(), 50)
    assert len({str(error) for error in found}) == 1
    assert "HTTP 500" in str(found[0])
    assert results == ["failed", "failed"]
