"""Warns before the serving certificate expires."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic, time
from typing import Final

from certs.serving import ServingContext

CHECK_SECONDS: Final = 60.0
REPEAT_SECONDS: Final = 24 * 3600.0

log = logging.getLogger(__name__)


async def watch(
    context: ServingContext,
    on_expiring: Callable[[str], Awaitable[None]],
    now: Callable[[], float] = time,
    *,
    check_seconds: float = CHECK_SECONDS,
) -> None:
    """Log a warning and call `on_expiring` with less than a fifth of the validity left; repeat daily."""
    warned: tuple[datetime, float] | None = None
    while True:
        ends = context.validity.not_after
        if context.validity.is_expiring(datetime.fromtimestamp(now(), UTC)) and (
            warned is None or warned[0] != ends or monotonic() - warned[1] > REPEAT_SECONDS
        ):
            note = f"the certificate of the webhook ends at {ends:%Y-%m-%d %H:%M:%S} UTC and was not replaced in time"
            log.warning("%s", note)
            await on_expiring(note)
            warned = (ends, monotonic())
        await asyncio.sleep(check_seconds)
