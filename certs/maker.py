"""Certificates made in a short-lived process of their own.

`cryptography` is 12 MiB that a server would carry for the moment in which it makes a key; so that moment has its own
process, and the server only ever loads the result.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

MAKE_SECONDS: Final = 30


@dataclass(frozen=True, slots=True)
class Made:
    """A CA's certificate and a leaf that it signed, with the leaf's key, all PEM. The CA's own key is forgotten."""

    ca: str
    certificate: str
    key: str


def make(names: list[str], lifetime: timedelta) -> Made:
    """A certificate for these names from a CA of its own.

    Raises:
        OSError, subprocess.SubprocessError: when the process cannot be run.
    """
    request = json.dumps({"names": names, "seconds": lifetime.total_seconds()})
    command = [sys.executable, "-m", "certs.maker"]
    done = subprocess.run(command, input=request, capture_output=True, text=True, timeout=MAKE_SECONDS, check=True)  # noqa: S603  our own interpreter and module
    return Made(**json.loads(done.stdout))


def main() -> None:
    """Read a request from standard input, write what was made to standard output."""
    from certs.authority import issue, make_authority  # noqa: PLC0415  only in the process of its own

    request, now = json.load(sys.stdin), datetime.now(UTC)
    lifetime = timedelta(seconds=request["seconds"])
    authority = make_authority("azwi-webhook ephemeral CA", now, lifetime)
    leaf = issue(authority, request["names"], now, lifetime)
    made = {"ca": authority.certificate, "certificate": leaf.certificate, "key": leaf.key}
    json.dump({name: pem.decode() for name, pem in made.items()}, sys.stdout)


if __name__ == "__main__":
    main()
