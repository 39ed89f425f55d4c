"""Retries while the API server is unreachable, or has only just started."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final, TypeVar

from azure_workload_identity.cluster.client import ClusterUnavailableError

# An API server that has just started denies everything until it has read its roles, and so may one soon after a role
# was created.
DENIED_SECONDS: Final = 5.0
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 5.0

T = TypeVar("T")

log = logging.getLogger(__name__)


async def retry(
    attempt: Callable[[], Awaitable[T]], denied: type[Exception], transient: tuple[type[Exception], ...] = ()
) -> T:
    """Call `attempt` until it succeeds, and return its result.

    While the API server does not answer, it is called again without end. Where the API server denies it (`denied`) for
    DENIED_SECONDS, that error is raised.
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
            message = str(error)
        except unavailable as error:
            denied_since, message = None, str(error)
        if message != last:
            log.warning("waiting: %s", message)
        last = message
        await asyncio.sleep(wait)
        wait = min(wait * 2, LONGEST_WAIT)
