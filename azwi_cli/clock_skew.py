"""The difference between two clocks, bounded by the round trips of the responses that showed them."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

# Kubernetes and HTTP write times in whole seconds.
RESOLUTION: Final = timedelta(seconds=1)
NONE: Final = timedelta()


def now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ClockReading:
    """A server's clock, and this machine's when the request was sent and the response received."""

    server_time: datetime
    sent_at: datetime
    received_at: datetime

    @property
    def round_trip(self) -> timedelta:
        """How long request and response took; the server read its clock at an unknown time within it."""
        return self.received_at - self.sent_at

    def ahead(self, other: "ClockReading | None" = None) -> timedelta:
        """The least time by which it is ahead of another clock (None: this machine's); negative when behind.

        Zero where the round trips explain the difference.
        """
        least, most = self._bounds()
        if other is not None:
            others_least, others_most = other._bounds()  # noqa: SLF001  of the same class
            least, most = least - others_most, most - others_least
        return max(least, NONE) or min(most, NONE)

    def _bounds(self) -> tuple[timedelta, timedelta]:
        return self.server_time - self.received_at, self.server_time + RESOLUTION - self.sent_at
