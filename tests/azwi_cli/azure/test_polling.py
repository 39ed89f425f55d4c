"""Waiting for Azure, bounded."""

import pytest

from azwi_cli.azure.errors import AzureApiError
from azwi_cli.azure.polling import LONGEST_PAUSE, Polling
from azwi_cli.console.errors import CommandError


class Clock:
    """Time that passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    """Make a clock."""
    return Clock()


def polling(clock: Clock, seconds: float, messages: list[str] | None = None) -> Polling:
    """Be patient by that clock."""
    return Polling(seconds, (messages if messages is not None else []).append, clock.sleep, lambda: clock.now)


def test_pauses_grow_and_end(clock: Clock) -> None:
    """Pauses double up to the longest, and together are not longer than what was allowed."""
    with pytest.raises(CommandError, match="does not show it after"):
        polling(clock, 40).until("it", lambda: None)
    assert clock.pauses == [1, 2, 4, 8, LONGEST_PAUSE, LONGEST_PAUSE, 5]


def test_seen_at_once(clock: Clock) -> None:
    """What is there at once is not waited for."""
    assert polling(clock, 40).until("it", lambda: "there") == "there"
    assert clock.pauses == []


def test_attempts(clock: Clock) -> None:
    """What fails in passing is done again, and the person sees what for."""
    failures, messages = [AzureApiError(404, "a", "b"), AzureApiError(404, "a", "b")], list[str]()

    def action() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert polling(clock, 40, messages).attempt("it", action, AzureApiError, lambda _: True) == "done"
    assert messages == ["waiting for Azure to know it"] * 2


@pytest.mark.parametrize(("passing", "seconds", "tries"), [(False, 40, 1), (True, 2, 3), (True, 0, 1)])
def test_failures(clock: Clock, *, passing: bool, seconds: float, tries: int) -> None:
    """What does not pass is reported at once, and what does not pass in time is reported then, as Azure said it."""
    calls = []

    def action() -> None:
        calls.append(clock.now)
        raise AzureApiError(403, "Denied", "no")

    with pytest.raises(AzureApiError, match="Denied"):
        polling(clock, seconds).attempt("it", action, AzureApiError, lambda _: passing)
    assert len(calls) == tries
