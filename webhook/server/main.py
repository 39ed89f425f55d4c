"""The program `azwi-webhook`."""

import os
import sys
from collections.abc import Sequence
from typing import Final

import uvloop

from webhook import logs
from webhook.server.commandline import SettingsError, load
from webhook.server.lifecycle import serve
from webhook.server.parts import StartError, prepare
from webhook.server.settings import Settings

USAGE: Final = 2


def main(arguments: Sequence[str]) -> int:
    """Run the server; the exit status is 0 after a stop that was asked for, 2 when it could not start."""
    try:
        settings = load(arguments, os.environ)
        logs.configure(settings.log_level)
        uvloop.run(_run(settings))
    except (SettingsError, StartError) as error:
        for line in str(error).splitlines():
            print(f"azwi-webhook: {line}", file=sys.stderr)  # noqa: T201  before there are logs
        return USAGE
    return 0


async def _run(settings: Settings) -> None:
    await serve(settings, await prepare(settings))


def run() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
