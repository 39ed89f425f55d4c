"""A word in time before the certificate that is served ends."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final

from certs.serving import ServingContext

CHECK_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 24 * 3600.0

log = logging.getLogger(__name__)


async def watch(
    context: ServingContext, told: Callable[[str], Awaitable[None]], *, check_seconds: float = CHECK_SECONDS
) -> None:
    """Warn, by the log and `told`, when less than a fifth of the certificate's life is left; again each day."""
    warned: tuple[datetime, float] | None = None
    while True:
        ends = context.validity.not_after
        if context.validity.is_expiring(datetime.now(UTC)) and (
            warned is None or warned[0] != ends or monotonic() - warned[1] > AGAIN_SECONDS
        ):
            note = f"the certificate of the webhook ends at {ends:%Y-%m-%d %H:%M:%S} UTC and was not replaced in time"
            log.warning("%s", note)
            await told(note)
            warned = (ends, monotonic())
        await asyncio.sleep(check_seconds)
