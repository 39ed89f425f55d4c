"""The API server's clock, which decides whether a certificate is valid."""

import logging
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Final

# A Date header has whole seconds, and the answer may take its time. Certificates are valid from minutes before now, so
# a difference below this does not matter.
TOLERANCE: Final = 60.0

log = logging.getLogger(__name__)


class ApiClock:
    """The time of the API server, as seconds since 1970; this machine's until the first answer with a Date header.

    From one answer to the next it is counted by the monotonic clock, so that it does not matter whether this machine's
    clock is stepped.

    All replicas take their steps by it. By their own clocks, two that are far apart would replace each other's
    certificates without end, and the one that is wrong would make some that the API server does not accept.
    """

    def __init__(self) -> None:
        self._start: float | None = None  # the time when the monotonic clock was zero
        self._warned = False

    def set(self, date: str) -> None:
        """Take the Date header of an answer."""
        try:
            offset = parsedate_to_datetime(date).timestamp() - time()
        except (TypeError, ValueError, OverflowError):
            return
        deviates = abs(offset) > TOLERANCE
        self._start = time() - monotonic() + (offset if deviates else 0.0)
        if deviates and not self._warned:
            self._warned = True
            log.warning(
                "the clock of this machine is %.0f s %s the API server's, whose clock the certificates follow",
                abs(offset),
                "behind" if offset > 0 else "ahead of",
            )

    def now(self) -> float:
        """The API server's time."""
        return time() if self._start is None else monotonic() + self._start

    def deviates(self) -> bool:
        """Whether this machine's clock is far from it, and cannot decide whether a certificate is valid."""
        return abs(self.now() - time()) > TOLERANCE
