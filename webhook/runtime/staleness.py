"""Warns while the cache of ServiceAccounts does not follow the API server."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from azure_workload_identity.cluster.events import Subject

# The API server sends a bookmark each minute, and a restart of its own takes a minute or two.
STALE_SECONDS: Final = 180.0
CHECK_SECONDS: Final = 15.0
REPEAT_SECONDS: Final = 600.0

log = logging.getLogger(__name__)


async def watch(
    staleness: Callable[[], float | None],
    warn: Callable[[Subject, str, str], Awaitable[None]],
    *,
    check_seconds: float = CHECK_SECONDS,
) -> None:
    """Log a warning and write an Event about this pod while the cache is older than STALE_SECONDS.

    It does not end readiness: that would take every replica away from the API server at the same time, and pods whose
    accounts did not change are admitted as before; accounts that the cache lacks are read live.
    """
    started, warned = monotonic(), 0.0
    while True:
        await asyncio.sleep(check_seconds)
        age = staleness()
        seconds = monotonic() - started if age is None else age
        if seconds < STALE_SECONDS:
            if warned:
                log.warning("the cache of ServiceAccounts follows the API server again")
                warned = 0.0
        elif not warned or monotonic() - warned > REPEAT_SECONDS:
            warned = monotonic()
            note = (
                f"the cache of ServiceAccounts has not followed the API server for {seconds:.0f} s: new pods may get "
                "outdated annotations; the log and azwi_watch_restarts_total have the reason"
            )
            log.warning("%s", note)
            await warn(Subject("Pod", socket.gethostname()), "ServiceAccountsStale", note)
