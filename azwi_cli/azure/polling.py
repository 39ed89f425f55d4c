"""Bounded waiting for Azure's replication: an object that was written is not visible everywhere at once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from azwi_cli.console.errors import CommandError

T = TypeVar("T")
E = TypeVar("E", bound=CommandError)

DEFAULT_SECONDS: Final = 120.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 10.0


def _ignore(_: str) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Polling:
    """How long to poll, in seconds; `on_wait` is called with a description of what is awaited."""

    seconds: float = DEFAULT_SECONDS
    on_wait: Callable[[str], None] = _ignore
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def attempt(self, what: str, action: Callable[[], T], failure: type[E], passing: Callable[[E], bool]) -> T:
        """Retry an action while it fails with a transient error.

        Raises:
            CommandError: the last failure when the time is up, or the first one that is not transient.
        """
        pauses = self._pauses()
        while True:
            try:
                return action()
            except failure as error:
                if not passing(error) or not self._waited(pauses, what):
                    raise

    def until(self, what: str, seen: Callable[[], T | None]) -> T:
        """Repeat a lookup until it finds something.

        Raises:
            CommandError: when the time is up.
        """
        pauses = self._pauses()
        while (found := seen()) is None:
            if not self._waited(pauses, what):
                raise CommandError(
                    f"{what} was written, but Azure does not show it after {self.seconds:.0f} s",
                    "run the same command again later: it continues where it stopped",
                )
        return found

    def _waited(self, pauses: Iterator[float], what: str) -> bool:
        pause = next(pauses, None)
        if pause is None:
            return False
        self.on_wait(f"waiting for Azure to know {what}")
        self.sleep(pause)
        return True

    def _pauses(self) -> Iterator[float]:
        """Pauses that double up to the longest, until the time is over."""
        end = self.clock() + self.seconds
        pause = FIRST_PAUSE
        while (left := end - self.clock()) > 0:
            yield min(pause, left)
            pause = min(2 * pause, LONGEST_PAUSE)
