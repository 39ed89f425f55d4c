"""Creates and checks certificates in a short-lived process.

`cryptography` would cost the server 12 MiB for the moment in which it generates a key. A process of its
own does that, and the server only loads the result.
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

WORKER_SECONDS: Final = 30


class WorkerError(Exception):
    """The worker process failed; the message contains no key."""


@dataclass(frozen=True, slots=True)
class StepRequest:
    """The arguments of `certs.phases.step`; lifetimes in seconds."""

    names: tuple[str, ...]
    ca_seconds: float
    cert_seconds: float
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    announced: bool = False
    served: bytes = b""


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of `certs.phases.step`; times in seconds since 1970."""

    data: Mapping[str, bytes] = field(repr=False)
    changes: tuple[str, ...]
    problems: tuple[str, ...]
    trusted: bytes
    due: float
    ca_expires: float


def run_step(request: StepRequest) -> StepResult:
    """Run `certs.phases.step` in the worker process.

    Raises:
        WorkerError: the process cannot be started or fails.
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
        done = subprocess.run(  # noqa: S603  this interpreter
            command, input=document, capture_output=True, text=True, timeout=WORKER_SECONDS, check=True
        )
    except subprocess.CalledProcessError as error:
        raise WorkerError(f"no certificate could be made: {error.stderr.strip().splitlines()[-1:]}") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkerError(f"no certificate could be made: {type(error).__name__}") from None
    result: JsonObject = json.loads(done.stdout)
    return StepResult(
        data={name: b64decode(value) for name, value in result["data"].items()},
        changes=tuple(result["changes"]),
        problems=tuple(result["problems"]),
        trusted=result["trusted"].encode(),
        due=result["due"],
        ca_expires=result["ca_expires"],
    )


def main() -> None:
    """Read a request from standard input, write the result to standard output."""
    from certs.phases import CertificateSpec, step

    request = json.load(sys.stdin)
    result = step(
        {name: b64decode(value) for name, value in request["data"].items()},
        CertificateSpec(
            tuple(request["names"]),
            timedelta(seconds=request["ca_seconds"]),
            timedelta(seconds=request["cert_seconds"]),
        ),
        datetime.now(UTC),
        announced=request["announced"],
        served=request["served"].encode(),
    )
    answer = {
        "data": _text(result.data),
        "changes": result.changes,
        "problems": result.problems,
        "trusted": result.trusted.decode(),
        "due": result.due.timestamp(),
        "ca_expires": result.ca_expires.timestamp(),
    }
    json.dump(answer, sys.stdout)


def _text(data: Mapping[str, bytes]) -> dict[str, str]:
    return {name: b64encode(value).decode() for name, value in data.items()}


if __name__ == "__main__":
    main()
