"""Gets one token with the Azure SDK for Python or with MSAL, as an app does: NAME RESOURCE.

It prints the seconds that the first token took, and the token.
"""

import sys
import time

from tests.support.azure_app import CREDENTIALS


def main(name: str, resource: str) -> None:
    """Get the token with one of CREDENTIALS."""
    started = time.perf_counter()
    token = CREDENTIALS[name](resource)
    print(f"{time.perf_counter() - started:.3f} {token}")  # noqa: T201  a program's output


if __name__ == "__main__":
    main(*sys.argv[1:])
