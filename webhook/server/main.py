"""The server of `azwi-webhook`, from its command line to its exit status."""

import os
import sys
from collections.abc import Sequence
from typing import Final

import uvloop

from webhook import logs
from webhook.server.commandline import SettingsError, load
from webhook.server.keeper import Kept
from webhook.server.lifecycle import serve
from webhook.server.listeners import Listeners
from webhook.server.parts import StartError, prepare
from webhook.server.settings import Settings

USAGE: Final = 2


def main(arguments: Sequence[str], kept: Kept | None = None) -> int:
    """Run the server; the exit status is 0 after a stop that was asked for, 2 when it could not start."""
    try:
        settings = load(arguments, os.environ)
        logs.configure(settings.log_level)
        uvloop.run(_run(settings, Listeners(kept)))
    except (SettingsError, StartError) as error:
        for line in str(error).splitlines():
            print(f"azwi-webhook: {line}", file=sys.stderr)  # noqa: T201  before there are logs
        return USAGE
    return 0


async def _run(settings: Settings, listeners: Listeners) -> None:
    await serve(settings, await prepare(settings), listeners=listeners)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
