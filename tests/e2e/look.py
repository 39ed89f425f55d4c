"""Runs in a pod: prints user, whether `/` is writable and the tokens it finds as JSON; `--stay` keeps it running."""

import base64
import json
import os
import signal
import sys

PATHS = (
    "/var/run/secrets/azure/tokens/azure-identity-token",
    "/var/run/secrets/azure/wi/token/azure-identity-token",
)


def claims(path: str) -> object:
    """Return the claims of the token in a file."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123  pathlib is not worth its import here
        payload = file.read().split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=="))


def main() -> None:
    """Print the findings, and keep running if asked to."""
    found = {"uid": os.getuid(), "writable": os.access("/", os.W_OK), "tokens": {path: claims(path) for path in PATHS}}
    print(json.dumps(found), flush=True)  # noqa: T201  a program's output
    if "--stay" in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        signal.pause()


if __name__ == "__main__":
    main()
