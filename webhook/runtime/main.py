"""The server of `azwi-webhook`, from its command line to its exit status."""

# ruff: noqa: E402  the first import decides what the others load

from webhook.runtime import imports

imports.prepare()

import os
import sys
from collections.abc import Sequence
from typing import Final

import uvloop

from azure_workload_identity import logs
from webhook.config.command_line import SettingsError, load
from webhook.config.settings import Settings
from webhook.runtime.allocator import keep_threshold
from webhook.runtime.components import StartError
from webhook.runtime.factory import create_components
from webhook.runtime.handover import Handover
from webhook.runtime.lifecycle import serve
from webhook.runtime.sockets import Listeners

USAGE: Final = 2


def main(arguments: Sequence[str], handover: Handover | None = None) -> int:
    """Run the server; the exit status is 0 after a requested shutdown, 2 when it could not start."""
    keep_threshold()
    try:
        settings = load(arguments, os.environ)
        logs.configure(settings.log_level)
        uvloop.run(_run(settings, Listeners(handover)))
    except (SettingsError, StartError) as error:
        for line in str(error).splitlines():
            print(f"azwi-webhook: {line}", file=sys.stderr)  # noqa: T201  there are no logs yet
        return USAGE
    return 0


async def _run(settings: Settings, listeners: Listeners) -> None:
    await serve(settings, await create_components(settings), listeners=listeners)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
