"""Certificates made and examined in a short-lived process of their own.

`cryptography` is 12 MiB that a server would carry for the moment in which it makes a key; so that moment has its own
process, and the server only ever loads the result.
"""

# ruff: noqa: PLC0415  cryptography is loaded only in the worker's process

import json
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from azure_workload_identity.types import JsonObject

MAKE_SECONDS: Final = 30


class MakerError(Exception):
    """The process that makes certificates failed; the message has no key in it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to make, as `certs.phases.step` takes it; lifetimes and `now` (since 1970) in seconds."""

    names: tuple[str, ...]
    ca_seconds: float
    cert_seconds: float
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    announced: bool = False
    served: bytes = b""


@dataclass(frozen=True, slots=True)
class Made:
    """What `certs.phases.step` gave; times in seconds since 1970."""

    data: Mapping[str, bytes] = field(repr=False)
    changes: tuple[str, ...]
    problems: tuple[str, ...]
    trusted: bytes
    due: float
    ca_expires: float


def make(request: Request) -> Made:
    """Have the next step made.

    Raises:
        MakerError: when the process cannot be run or fails.
    """
    command = [sys.executable, "-m", "certs.worker"]
    document = json.dumps(
        {
            "names": request.names,
            "ca_seconds": request.ca_seconds,
            "cert_seconds": request.cert_seconds,
            "data": _text(request.data),
            "announced": request.announced,
            "served": request.served.decode(),
        }
    )
    try:
        done = subprocess.run(command, input=document, capture_output=True, text=True, timeout=MAKE_SECONDS, check=True)  # noqa: S603  our own interpreter and module
    except subprocess.CalledProcessError as error:
        raise MakerError(f"no certificate could be made: {error.stderr.strip().splitlines()[-1:]}") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise MakerError(f"no certificate could be made: {type(error).__name__}") from None
    made: JsonObject = json.loads(done.stdout)
    return Made(
        data={name: b64decode(value) for name, value in made["data"].items()},
        changes=tuple(made["changes"]),
        problems=tuple(made["problems"]),
        trusted=made["trusted"].encode(),
        due=made["due"],
        ca_expires=made["ca_expires"],
    )


def main() -> None:
    """Read a request from standard input, write what was made to standard output."""
    from certs.phases import Wanted, step

    request = json.load(sys.stdin)
    made = step(
        {name: b64decode(value) for name, value in request["data"].items()},
        Wanted(
            tuple(request["names"]),
            timedelta(seconds=request["ca_seconds"]),
            timedelta(seconds=request["cert_seconds"]),
        ),
        datetime.now(UTC),
        announced=request["announced"],
        served=request["served"].encode(),
    )
    answer = {
        "data": _text(made.data),
        "changes": made.changes,
        "problems": made.problems,
        "trusted": made.trusted.decode(),
        "due": made.due.timestamp(),
        "ca_expires": made.ca_expires.timestamp(),
    }
    json.dump(answer, sys.stdout)


def _text(data: Mapping[str, bytes]) -> dict[str, str]:
    return {name: b64encode(value).decode() for name, value in data.items()}


if __name__ == "__main__":
    main()
