"""How far two clocks are apart, as far as answers that show them can tell."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

# Kubernetes and HTTP write times in whole seconds.
GRAIN: Final = timedelta(seconds=1)
NONE: Final = timedelta()


def now() -> datetime:
    """This machine's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a clock showed in the answer to a question, and when here it was asked and answered."""

    shown: datetime
    asked: datetime
    answered: datetime

    @property
    def way(self) -> timedelta:
        """How long question and answer took: within that the clock was read at a time that is not known."""
        return self.answered - self.asked

    def ahead(self, other: "Reading | None" = None) -> timedelta:
        """How far it is ahead of another clock (None: this machine's) at least; negative when it is behind.

        Nothing where the ways of the two answers explain the difference.
        """
        least, most = self._bounds()
        if other is not None:
            others_least, others_most = other._bounds()  # noqa: SLF001  of the same class
            least, most = least - others_most, most - others_least
        return max(least, NONE) or min(most, NONE)

    def _bounds(self) -> tuple[timedelta, timedelta]:
        return self.shown - self.answered, self.shown + GRAIN - self.asked
