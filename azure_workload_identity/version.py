"""What the programs say of their version."""

import json
import os
import platform

from azure_workload_identity import __version__


def information() -> dict[str, str]:
    """The version; commit and date are those that the image was built with, else "unknown"."""
    return {
        "buildVersion": __version__,
        "gitCommit": os.environ.get("AZWI_GIT_COMMIT", "unknown"),
        "buildDate": os.environ.get("AZWI_BUILD_DATE", "unknown"),
        "pythonVersion": platform.python_version(),
        "platform": f"{platform.system().lower()}/{platform.machine()}",
    }


def json_line() -> str:
    """What `--version` prints: one line of JSON, as v1.6.0's programs do."""
    return json.dumps(information())
