"""The program `azwi-proxy`: the sidecar, and its commands `init` and `probe`.

Each branch imports only what it needs: `init` and `probe` are short-lived, and the sidecar must stay small.
"""

# ruff: noqa: PLC0415  see above

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from imds_proxy.settings import Settings

USAGE: Final = 2


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the program; the exit status is 0 after a requested stop, 2 when it cannot start."""
    command, *rest = arguments or [""]
    if command == "init":
        from imds_proxy import redirect

        return redirect.main(rest)
    from imds_proxy import settings

    try:
        flags = settings.parse(rest if command == "probe" else arguments, environ)
        if flags.version:
            return _version()
        if command == "probe" or flags.probe:
            from imds_proxy.probe import probe

            return probe(flags.proxy_port)
        return _serve(settings.load(flags, environ))
    except settings.SettingsError as error:
        return _report(error)


def _serve(settings: "Settings") -> int:
    import asyncio

    from azure_workload_identity import logs

    try:
        from imds_proxy import lifecycle
    except ModuleNotFoundError as error:
        from azure_workload_identity.extras import report_missing

        return report_missing("azwi-proxy", "proxy", error)
    logs.configure(settings.log_level)
    try:
        asyncio.run(lifecycle.serve(settings))
    except lifecycle.StartError as error:
        return _report(error)
    return 0


def _version() -> int:
    from azure_workload_identity import version

    print(version.json_line())  # noqa: T201  the output of --version
    return 0


def _report(error: Exception) -> int:
    for line in str(error).splitlines():
        print(f"azwi-proxy: {line}", file=sys.stderr)  # noqa: T201  logs are not configured yet
    return USAGE


def run() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:], os.environ))
