"""The warning while the cache of ServiceAccounts is stale."""

import asyncio
from collections.abc import Callable

import pytest

from azure_workload_identity.cluster.events import Subject
from testbed.processes import until_in_loop
from webhook.runtime import staleness


def notes_of(age: Callable[[], float | None], until: Callable[[list[str]], bool]) -> list[str]:
    """Watch until the notes are as expected; return them."""
    notes: list[str] = []

    async def warn(subject: Subject, reason: str, note: str) -> None:
        notes.append(f"{subject.kind} {reason}: {note}")

    async def run() -> None:
        task = asyncio.create_task(staleness.watch(age, warn, check_seconds=0.001))
        await until_in_loop(lambda: until(notes))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    return notes


def test_stale() -> None:
    """A cache that does not follow is reported once, with its age, by an Event about the pod."""
    (note,) = notes_of(lambda: 500.0, bool)
    assert note.startswith(
        "Pod ServiceAccountsStale: the cache of ServiceAccounts has not followed the API server for 500 s"
    )


def test_first_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first list that is not complete for as long is reported too."""
    monkeypatch.setattr(staleness, "STALE_SECONDS", 0.01)
    assert len(notes_of(lambda: None, bool)) == 1


def test_current_again(caplog: pytest.LogCaptureFixture) -> None:
    """That it follows again is logged, and the next time is reported at once."""
    ages = iter([500.0, 500.0, 1.0, 500.0])
    assert len(notes_of(lambda: next(ages, 1.0), lambda notes: len(notes) == 2)) == 2
    assert "the cache of ServiceAccounts follows the API server again" in caplog.messages
