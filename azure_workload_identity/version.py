"""Version information of the programs."""

import json
import os
import platform

from azure_workload_identity import __version__


def information() -> dict[str, str]:
    """Version, commit and build date; the latter two are set when the image is built, else "unknown"."""
    return {
        "buildVersion": __version__,
        "gitCommit": os.environ.get("AZWI_GIT_COMMIT", "unknown"),
        "buildDate": os.environ.get("AZWI_BUILD_DATE", "unknown"),
        "pythonVersion": platform.python_version(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def json_line() -> str:
    """The output of `--version`: one line of JSON, as v1.6.0's programs print."""
    return json.dumps(information())
