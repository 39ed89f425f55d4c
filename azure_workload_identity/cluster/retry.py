"""Waiting for an API server that is not there yet, and for one that has only just started."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, TypeVar

from azure_workload_identity.cluster.client import ClusterUnavailableError

# An API server that has just started denies everything until it has read its roles; so may one after a role was made.
DENIED_SECONDS: Final = 5.0
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0

T = TypeVar("T")

log = logging.getLogger(__name__)


async def patiently(
    attempt: Callable[[], Awaitable[T]], denied: type[Exception], transient: tuple[type[Exception], ...] = ()
) -> T:
    """What `attempt` gives in the end.

    While the API server does not answer it is tried again without end; where it denies (`denied`) for DENIED_SECONDS,
    that is raised.
    """
    unavailable: tuple[type[Exception], ...] = (ClusterUnavailableError, *transient)
    wait, denied_since, last = FIRST_WAIT, None, ""
    while True:
        try:
            return await attempt()
        except denied as error:
            denied_since = denied_since or monotonic()
            if monotonic() - denied_since > DENIED_SECONDS:
                raise
            said = str(error)
        except unavailable as error:
            denied_since, said = None, str(error)
        if said != last:
            log.warning("waiting: %s", said)
        last = said
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)
