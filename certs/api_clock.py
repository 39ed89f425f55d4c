"""The API server's clock, which decides whether a certificate is valid."""

import logging
from email.utils import parsedate_to_datetime
from time import time
from typing import Final

# A Date header has whole seconds, and the answer may take its time. Certificates are valid from minutes before now, so
# a difference below this does not matter.
TOLERANCE: Final = 60.0

log = logging.getLogger(__name__)


class ApiClock:
    """The time of the API server, as seconds since 1970; this machine's until the first answer with a Date header.

    All replicas take their steps by it. By their own clocks, two that are far apart would replace each other's
    certificates without end, and the one that is wrong would make some that the API server does not accept.
    """

    def __init__(self) -> None:
        self._offset = 0.0
        self._warned = False

    def set(self, date: str) -> None:
        """Take the Date header of an answer."""
        try:
            offset = parsedate_to_datetime(date).timestamp() - time()
        except (TypeError, ValueError, OverflowError):
            return
        self._offset = 0.0 if abs(offset) <= TOLERANCE else offset
        if self._offset and not self._warned:
            self._warned = True
            log.warning(
                "the clock of this machine is %.0f s %s the API server's, whose clock the certificates follow",
                abs(offset),
                "behind" if offset > 0 else "ahead of",
            )

    def now(self) -> float:
        """The API server's time."""
        return time() + self._offset
