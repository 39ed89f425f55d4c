"""A GET that several connections try: of several API servers, one may be dead or paused."""

import asyncio
from typing import Final

from azure_workload_identity.cluster.client import JSON, Answer, Cluster, ClusterUnavailableError, Limits

# A busy API server answers within this; a healthy one within milliseconds.
HEDGE_SECONDS: Final = 0.5
MAX_ATTEMPTS: Final = 3


async def hedged_get(cluster: Cluster, path: str, accept: str = JSON, limits: Limits | None = None) -> Answer:
    """The first response to a GET, which is sent again, at most MAX_ATTEMPTS times, when it failed or takes long.

    Each attempt has a connection of its own, which a load balancer may lead to another API server.

    Raises:
        AnswerTooLargeError, ClusterUnavailableError: as `Cluster.get` does, and within the same time.
    """
    limits = limits or Limits()
    running = set[asyncio.Task[Answer]]()
    started = 0
    try:
        async with asyncio.timeout(limits.seconds):
            while True:
                if started < MAX_ATTEMPTS:
                    running.add(asyncio.create_task(cluster.get(path, accept, limits)))
                    started += 1
                wait = HEDGE_SECONDS if started < MAX_ATTEMPTS else None
                done, running = await asyncio.wait(running, timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                errors = [error for attempt in done if (error := attempt.exception())]
                if len(errors) < len(done):
                    return next(attempt.result() for attempt in done if not attempt.exception())
                if errors and started == MAX_ATTEMPTS and not running:
                    raise errors[0]
    except TimeoutError as error:
        raise ClusterUnavailableError("GET", path, type(error).__name__) from error
    finally:
        for attempt in running:
            attempt.cancel()
