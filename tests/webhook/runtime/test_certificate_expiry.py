"""The warning before a certificate expires."""

import asyncio
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from certs.authority import issue, make_authority
from certs.serving import ServingContext
from testbed.processes import until_in_loop
from tests.certs.test_handshake import FixedSource
from webhook.runtime import certificate_expiry

NOW = datetime.now(UTC)


def serving(elapsed: float) -> ServingContext:
    """Serve a certificate of which this part of its life is over."""
    span = timedelta(days=100)
    began = NOW - span * elapsed
    authority = make_authority("CA", began, span)
    return ServingContext(FixedSource(issue(authority, ["webhook"], began, span)), ssl.TLSVersion.TLSv1_3)


def notes_of(context: ServingContext, times: int = 0) -> list[str]:
    """Watch until there were so many notes, and for a while longer; return the notes."""
    notes: list[str] = []

    async def on_expiring(note: str) -> None:
        notes.append(note)

    async def run() -> None:
        task = asyncio.create_task(certificate_expiry.watch(context, on_expiring, check_seconds=0.001))
        await until_in_loop(lambda: len(notes) >= times)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    return notes


def test_long_before_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A certificate with a quarter of its validity left is not reported."""
    assert notes_of(serving(0.75)) == []
    assert caplog.messages == []


def test_near_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """With less than a fifth left there is one note a day, with the day on which it ends."""
    (note,) = notes_of(serving(0.9), 1)
    assert f"ends at {NOW + timedelta(days=10):%Y-%m-%d}" in note
    assert caplog.messages == [note]


def test_again_the_next_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that was not replaced is reported again."""
    monkeypatch.setattr(certificate_expiry, "REPEAT_SECONDS", 0.01)
    assert len(notes_of(serving(0.9), 2)) > 1
