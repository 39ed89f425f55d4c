"""The two servers that are compared, each in a process of its own on loopback."""

import base64
import http.client
import json
import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from bench.load import BenchmarkError
from testbed.processes import free_ports, running, wait_until
from testbed.program import listens

REPOSITORY: Final = Path(__file__).parents[1]
READY_SECONDS: Final = 30.0
ANSWER_SECONDS: Final = 10.0
TENANT_ID: Final = "5a3ae6a4-9d1f-4c22-a4a5-1e6f0fd1d4a1"
CLIENT_ID: Final = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    pid: int
    port: int


@contextmanager
def floor(directory: Path) -> Iterator[Server]:
    """Run the floor."""
    (port,) = free_ports(1)
    with _serving("bench.floor", [str(port)], port, directory / "floor.log") as server:
        yield server


@contextmanager
def webhook(directory: Path, review: Path) -> Iterator[Server]:
    """Run the webhook as it is shipped, logs, metrics and health on, with the review's ServiceAccount in a file."""
    port, health, metrics = free_ports(3)
    accounts = directory / "accounts.yaml"
    accounts.write_text(json.dumps(_account(json.loads(review.read_bytes())["request"])))
    arguments = [
        f"--service-accounts={accounts}",
        "--webhook-host=127.0.0.1",
        f"--webhook-port={port}",
        f"--health-addr=127.0.0.1:{health}",
        f"--metrics-addr=127.0.0.1:{metrics}",
        "--tls-min-version=1.3",
        "--log-level=info",
    ]
    with _serving("webhook.runtime.main", arguments, port, directory / "webhook.log") as server:
        yield server


def check(server: Server, review: Path) -> None:
    """Post the review once.

    Raises:
        BenchmarkError: when the answer is anything but "allowed, with a patch".
    """
    body = review.read_bytes()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # both make their certificates in memory
    connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=ANSWER_SECONDS, context=context)
    try:
        connection.request("POST", names.MUTATE_PATH, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        status, answer = response.status, response.read()
    finally:
        connection.close()
    if status != http.client.OK or not _is_allowed_with_patch(json.loads(answer)):
        raise BenchmarkError(f"{review.name} is not allowed with a patch but answered {status} {answer!r}")


def _is_allowed_with_patch(answer: JsonObject) -> bool:
    response = answer.get("response", {})
    return bool(
        answer.get("kind") == "AdmissionReview"
        and response.get("uid")
        and response.get("allowed") is True
        and response.get("patchType") == "JSONPatch"
        and json.loads(base64.b64decode(response.get("patch", "")))
    )


@contextmanager
def _serving(module: str, arguments: list[str], port: int, log: Path) -> Iterator[Server]:
    # Nothing of the caller's environment: settings come from there too.
    environment = {"PATH": os.environ["PATH"], "AZURE_TENANT_ID": TENANT_ID}
    command = [sys.executable, "-m", module, *arguments]
    with running(command, log, cwd=REPOSITORY, env=environment) as process:
        wait_until(lambda: listens(port), process, log, READY_SECONDS)
        yield Server(process.pid, port)


def _account(request: JsonObject) -> JsonObject:
    """The ServiceAccount of a review's pod, with an identity."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "namespace": request["namespace"],
            "name": request["object"]["spec"]["serviceAccountName"],
            "annotations": {names.CLIENT_ID: CLIENT_ID},
        },
    }
