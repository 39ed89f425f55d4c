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
from typing import TYPE_CHECKING, Final

from azure_workload_identity.types import JsonObject
from certs.errors import CertificateError, ForeignCertificateError

if TYPE_CHECKING:
    from certs.phases import RotationStep

WORKER_SECONDS: Final = 30
REFUSED: Final = 3
FOREIGN: Final = 4
LONGEST_ERROR: Final = 500


class WorkerError(Exception):
    """The worker process failed; the message contains no key."""


@dataclass(frozen=True, slots=True)
class StepRequest:
    """The arguments of `certs.phases.step`; lifetimes in seconds, and `now` in seconds since 1970."""

    names: tuple[str, ...]
    ca_seconds: float
    cert_seconds: float
    now: float
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
        CertificateError: as `step` raises it, or the process fails; trying again does not help.
        WorkerError: the process cannot be started, or was killed.
    """
    # Isolated: no module of the current directory or of PYTHONPATH runs where keys are made.
    command = [sys.executable, "-I", "-m", "certs.worker"]
    document = json.dumps(
        {
            "names": request.names,
            "ca_seconds": request.ca_seconds,
            "cert_seconds": request.cert_seconds,
            "now": request.now,
            "data": _text(request.data),
            "announced": request.announced,
            "served": request.served.decode(),
        }
    )
    try:
        done = subprocess.run(  # noqa: S603  this interpreter
            command, input=document, capture_output=True, text=True, timeout=WORKER_SECONDS, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise WorkerError(f"no certificate could be made: {type(error).__name__}") from None
    if done.returncode < 0:
        raise WorkerError(f"no certificate could be made: signal {-done.returncode} ended the process that makes it")
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1][:LONGEST_ERROR]
        if done.returncode == FOREIGN:
            raise ForeignCertificateError(message)
        raise CertificateError(message if done.returncode == REFUSED else f"no certificate could be made: {message}")
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
    """Read a request from standard input, write the result to standard output.

    If `step` raises a CertificateError, the exit status is REFUSED or FOREIGN, and standard error has its sentence.
    """
    try:
        json.dump(_document(_step(json.load(sys.stdin))), sys.stdout)
    except CertificateError as error:
        sys.stderr.write(str(error))
        sys.exit(FOREIGN if isinstance(error, ForeignCertificateError) else REFUSED)


def _step(request: JsonObject) -> "RotationStep":
    from certs.phases import CertificateSpec, step

    return step(
        {name: b64decode(value) for name, value in request["data"].items()},
        CertificateSpec(
            tuple(request["names"]),
            timedelta(seconds=request["ca_seconds"]),
            timedelta(seconds=request["cert_seconds"]),
        ),
        datetime.fromtimestamp(request["now"], UTC),
        announced=request["announced"],
        served=request["served"].encode(),
    )


def _document(result: "RotationStep") -> JsonObject:
    return {
        "data": _text(result.data),
        "changes": result.changes,
        "problems": result.problems,
        "trusted": result.trusted.decode(),
        "due": result.due.timestamp(),
        "ca_expires": result.ca_expires.timestamp(),
    }


def _text(data: Mapping[str, bytes]) -> dict[str, str]:
    return {name: b64encode(value).decode() for name, value in data.items()}


if __name__ == "__main__":
    main()
