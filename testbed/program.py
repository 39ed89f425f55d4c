"""azwi-webhook as a process of its own, and requests to it over TLS."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import trustme

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.pods import envelope
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, wait_until

ROOT: Final = Path(__file__).resolve().parents[1]
TENANT: Final = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"
JSON: Final[Mapping[str, str]] = {"Content-Type": "application/json"}


def listens(port: int, address: str = "127.0.0.1") -> bool:
    """Whether a port accepts connections, of loopback or of another of this machine's addresses."""
    with socket.socket() as client:
        client.settimeout(MAX_WAIT_SECONDS)
        return client.connect_ex((address, port)) == 0


def write_pair(directory: Path, ca: trustme.CA, not_after: datetime | None = None) -> None:
    """Issue a certificate for 127.0.0.1 and put it where the server looks for it."""
    leaf = ca.issue_cert("127.0.0.1", not_after=not_after)
    directory.mkdir(exist_ok=True)
    (directory / "tls.key").write_bytes(leaf.private_key_pem.bytes())
    (directory / "tls.crt").write_bytes(leaf.cert_chain_pems[0].bytes())


@dataclass(frozen=True)
class Program:
    """A running server; `ca` signed its certificate, `log` is what it wrote."""

    process: "subprocess.Popen[bytes]"
    ca: trustme.CA
    log: Path
    port: int
    health: int
    metrics: int

    def context(self) -> ssl.SSLContext:
        """Make a TLS context that trusts only the server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.ca.configure_trust(context)
        return context

    def connect(self) -> http.client.HTTPSConnection:
        """Open a connection to the webhook port."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context(), timeout=MAX_WAIT_SECONDS)

    def send(
        self,
        body: bytes,
        headers: Mapping[str, str] = JSON,
        method: str = "POST",
        path: str = names.MUTATE_PATH,
    ) -> tuple[int, bytes]:
        """Send one request and return status and body."""
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def admit(self, pod: object, namespace: str = "default") -> JsonObject:
        """Have a pod admitted and return the response inside the AdmissionReview."""
        status, body = self.send(json.dumps(review(pod, namespace)).encode())
        assert status == http.client.OK, body
        response: JsonObject = json.loads(body)["response"]
        return response

    def get(self, port: int, path: str) -> tuple[int, str]:
        """GET from one of the plain listeners."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=MAX_WAIT_SECONDS)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionError:
            return 0, ""
        finally:
            connection.close()

    def lines(self) -> list[JsonObject]:
        """Return the log, each line decoded."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit status."""
        self.process.send_signal(number)
        return self.process.wait(MAX_WAIT_SECONDS)


def review(pod: object, namespace: str = "default", operation: str = "CREATE") -> JsonObject:
    """Write the AdmissionReview of a pod's creation."""
    return envelope(pod, uid="705ab4f5-6393-11e8-b7cc-42010a800002", namespace=namespace, operation=operation)


def as_module(flags: list[str]) -> list[str]:
    """The command that runs the server of this source tree."""
    return [sys.executable, "-m", "webhook.runtime.supervisor", *flags]


@contextmanager
def started(
    directory: Path,
    *flags: str,
    accounts: Path | None = None,
    command: Callable[[list[str]], list[str]] = as_module,
    tree: Path = ROOT,
    **environment: str,
) -> Iterator[Program]:
    """Start the server of a source tree with certificates of a new CA and the accounts of a file; wait until ready."""
    ca = trustme.CA()
    write_pair(directory / "certs", ca)
    port, health, metrics = free_ports(3)
    settings = [
        f"--service-accounts={accounts or ROOT / 'examples'}",
        f"--webhook-cert-dir={directory / 'certs'}",
        "--disable-cert-rotation",
        "--drain-period=0s",
        "--webhook-host=127.0.0.1",
        f"--webhook-port={port}",
        f"--health-addr=127.0.0.1:{health}",
        f"--metrics-addr=127.0.0.1:{metrics}",
        *flags,
    ]
    env = {**os.environ, "AZURE_TENANT_ID": TENANT, **environment}
    log = directory / "azwi-webhook.log"
    with running(command(settings), log, cwd=tree, env=env) as process:
        program = Program(process, ca, log, port, health, metrics)
        wait_until(lambda: program.get(health, "/readyz")[0] == http.client.OK, process, log, MAX_WAIT_SECONDS)
        yield program


def failed(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run a server that is expected to fail at start; return its exit status and output."""
    env = {**os.environ, "KUBECONFIG": "", "AZURE_TENANT_ID": TENANT, **environment}
    done = subprocess.run(
        [sys.executable, "-m", "webhook.runtime.supervisor", *arguments],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        timeout=MAX_WAIT_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr
