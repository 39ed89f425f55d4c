"""Waiting for what Azure does in its own time: an object written here is not at once seen there. Bounded."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from azwi.console.errors import CommandError

T = TypeVar("T")
E = TypeVar("E", bound=CommandError)

DEFAULT_SECONDS: Final = 120.0
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 10.0


def _untold(_: str) -> None:
    """Say nothing."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for one thing, in seconds; `tell` is given what is being waited for."""

    seconds: float = DEFAULT_SECONDS
    tell: Callable[[str], None] = _untold
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def attempt(self, what: str, action: Callable[[], T], failure: type[E], passing: Callable[[E], bool]) -> T:
        """Do something again and again while it fails with what passes.

        Raises:
            CommandError: the last failure when the time is over, or the first that does not pass.
        """
        pauses = self._pauses()
        while True:
            try:
                return action()
            except failure as error:
                if not passing(error) or not self._waited(pauses, what):
                    raise

    def until(self, what: str, seen: Callable[[], T | None]) -> T:
        """Look again and again until something is seen.

        Raises:
            CommandError: when the time is over.
        """
        pauses = self._pauses()
        while (found := seen()) is None:
            if not self._waited(pauses, what):
                raise CommandError(
                    f"{what} is written, but after {self.seconds:.0f} s Azure does not show it yet",
                    "run the same command again later: it goes on where it stopped",
                )
        return found

    def _waited(self, pauses: Iterator[float], what: str) -> bool:
        pause = next(pauses, None)
        if pause is None:
            return False
        self.tell(f"waiting for Azure to know {what}")
        self.sleep(pause)
        return True

    def _pauses(self) -> Iterator[float]:
        """Pauses that double up to the longest, until the time is over."""
        end = self.clock() + self.seconds
        pause = FIRST_PAUSE
        while (left := end - self.clock()) > 0:
            yield min(pause, left)
            pause = min(2 * pause, LONGEST_PAUSE)
