"""The command line of `azwi-webhook`: wrong settings are refused before the server's libraries are loaded."""

# ruff: noqa: E402  the first import decides how fast the others are

from webhook.runtime import imports

imports.collect_garbage_rarely()

import os
import sys
from collections.abc import Sequence
from typing import Final

from azure_workload_identity import logs
from webhook.config.command_line import SettingsError, load
from webhook.runtime.allocator import keep_threshold
from webhook.runtime.handover import Handover

USAGE: Final = 2


def main(arguments: Sequence[str], handover: Handover | None = None) -> int:
    """Run the server; the exit status is 0 after a requested shutdown, 2 when it could not start."""
    keep_threshold()
    try:
        settings = load(arguments, os.environ)
    except SettingsError as error:
        return refuse(error)
    logs.configure(settings.log_level)
    from webhook.runtime import server_process  # noqa: PLC0415  half a second, which a wrong flag need not take

    try:
        server_process.run(settings, handover)
    except server_process.StartError as error:
        return refuse(error)
    return 0


def refuse(error: Exception) -> int:
    """Print why there is no server, and return the exit status."""
    for line in str(error).splitlines():
        print(f"azwi-webhook: {line}", file=sys.stderr)  # noqa: T201  there are no logs yet
    return USAGE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
