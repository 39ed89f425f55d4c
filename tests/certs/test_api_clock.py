"""The API server's clock."""

import logging
from email.utils import formatdate
from time import time

import pytest

from certs.api_clock import ApiClock


@pytest.mark.parametrize("days", [-60, 60])
def test_follows_the_api_server(days: int, caplog: pytest.LogCaptureFixture) -> None:
    """The time is the API server's, and a clock that is far from it is reported once."""
    clock = ApiClock()
    for _ in range(2):
        with caplog.at_level(logging.WARNING):
            clock.set(formatdate(time() + days * 86400, usegmt=True))
    assert abs(clock.now() - time() - days * 86400) < 5
    assert len(caplog.records) == 1


@pytest.mark.parametrize("seconds", [-30, 0, 30])
def test_seconds_do_not_matter(seconds: int) -> None:
    """Neither the Date header's precision nor an answer that took its time moves the time."""
    clock = ApiClock()
    clock.set(formatdate(time() + seconds, usegmt=True))
    assert abs(clock.now() - time()) < 0.1


@pytest.mark.parametrize("date", ["", "tomorrow", "Mon, 99 Foo 2026 00:00:00 GMT", "Mon, 01 Jan 99999 00:00:00 GMT"])
def test_no_date(date: str) -> None:
    """Without a usable header the time is this machine's."""
    clock = ApiClock()
    clock.set(date)
    assert abs(clock.now() - time()) < 0.1


@pytest.mark.parametrize("hours", [-1, 1])
def test_stepped_clock(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of this machine's clock does not move the time, and shows as a deviation until it is taken back."""
    clock, before = ApiClock(), time()
    clock.set(formatdate(before, usegmt=True))
    assert not clock.deviates()
    monkeypatch.setattr("certs.api_clock.time", lambda: time() + hours * 3600)
    assert abs(clock.now() - before) < 60
    assert clock.deviates()
    monkeypatch.setattr("certs.api_clock.time", time)
    assert not clock.deviates()
