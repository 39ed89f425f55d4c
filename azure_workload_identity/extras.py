"""The message of a program whose extra is not installed."""

import sys
from typing import Final

USAGE: Final = 2


def report_missing(program: str, extra: str, error: ModuleNotFoundError) -> int:
    """Write to standard error which extra brings the module that is missing; the exit status.

    Raises:
        ModuleNotFoundError: `error`, when the missing module is the project's own, which no extra brings.
    """
    name = (error.name or "").split(".")[0]
    if name in {"", "azure_workload_identity", "certs", "imds_proxy", "webhook"}:
        raise error
    line = f"{program}: the package {name} is not installed; pip install 'azure-workload-identity[{extra}]' brings it\n"
    sys.stderr.write(line)
    return USAGE
