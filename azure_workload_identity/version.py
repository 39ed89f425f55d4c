"""Version information of the programs."""

import json
import os
import platform
from typing import Final

from azure_workload_identity import __version__

# Written by `make release`; an image has them in its environment, too.
COMMIT: Final = "unknown"
BUILD_DATE: Final = "unknown"


def information() -> dict[str, str]:
    """Version, commit and build date; the latter two are "unknown" but in a release or an image."""
    return {
        "buildVersion": __version__,
        "gitCommit": os.environ.get("AZWI_GIT_COMMIT", COMMIT),
        "buildDate": os.environ.get("AZWI_BUILD_DATE", BUILD_DATE),
        "pythonVersion": platform.python_version(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def json_line() -> str:
    """The output of `--version`: one line of JSON, as v1.6.0's programs print."""
    return json.dumps(information())
