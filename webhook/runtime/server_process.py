"""Runs the server with its libraries, from its settings to its end."""

# ruff: noqa: E402  the first import decides what the others load

from webhook.runtime import imports

imports.prepare()

import uvloop

from webhook.config.settings import Settings
from webhook.runtime.components import StartError
from webhook.runtime.factory import create_components
from webhook.runtime.handover import Handover
from webhook.runtime.lifecycle import serve
from webhook.runtime.sockets import Listeners

__all__ = ["StartError", "run"]


def run(settings: Settings, handover: Handover | None) -> None:
    """Serve until a requested shutdown.

    Raises:
        StartError: when the server cannot start with these settings.
    """
    uvloop.run(_run(settings, Listeners(handover)))


async def _run(settings: Settings, listeners: Listeners) -> None:
    await serve(settings, await create_components(settings), listeners=listeners)
