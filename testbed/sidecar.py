"""azwi-proxy as a process of its own, with the environment that the webhook injects, and requests to it."""

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from azure_workload_identity.types import JsonObject
from testbed.entra import Entra, FederatedCredential, Issuer
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, wait_until
from testbed.program import ROOT

TENANT: Final = "5a3ae6a4-9d1f-4c22-a4a5-1e6f0fd1d4a1"
CLIENT: Final = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"
SUBJECT: Final = "system:serviceaccount:shop:web"
RESOURCE: Final = "https://vault.azure.net"
TOKEN_PATH: Final = "/metadata/identity/oauth2/token"
METADATA: Final[Mapping[str, str]] = {"Metadata": "true"}
# As the console script runs it: `python -m` would load more.
PROGRAM: Final = (sys.executable, "-c", "from imds_proxy.main import run; run()")


@dataclass(frozen=True)
class Reply:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> JsonObject:
        """The body, which must be a JSON object."""
        document: JsonObject = json.loads(self.body)
        assert isinstance(document, dict)
        return document


@dataclass(frozen=True)
class Sidecar:
    """A running proxy; `token_file` contains the pod's projected token, `log` is the proxy's output."""

    process: "subprocess.Popen[bytes]"
    port: int
    token_file: Path
    log: Path

    def get(
        self,
        target: str,
        headers: Mapping[str, str] = METADATA,
        method: str = "GET",
        host: str = "127.0.0.1",
    ) -> Reply:
        """Send one request."""
        connection = http.client.HTTPConnection(host, self.port, timeout=MAX_WAIT_SECONDS)
        try:
            connection.request(method, target, headers=dict(headers))
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def token(self, resource: str = RESOURCE, **parameters: str) -> Reply:
        """Request a token as an SDK does."""
        query = {"api-version": "2018-02-01", "resource": resource, **parameters}
        return self.get(f"{TOKEN_PATH}?{urlencode(query)}")

    def metric(self, line: str) -> float:
        """The value of one sample."""
        text = self.get("/metrics").body.decode()
        return next(float(sample.rpartition(" ")[2]) for sample in text.splitlines() if sample.startswith(line + " "))

    def lines(self) -> list[JsonObject]:
        """The log, each line decoded."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


def environment(emulator: Entra, token_file: Path) -> dict[str, str]:
    """The variables that the webhook injects, and those that make the emulator's certificate trusted."""
    return {
        "PATH": os.environ["PATH"],
        "AZURE_CLIENT_ID": CLIENT,
        "AZURE_TENANT_ID": TENANT,
        "AZURE_FEDERATED_TOKEN_FILE": str(token_file),
        "AZURE_AUTHORITY_HOST": emulator.url + "/",
        "SSL_CERT_FILE": str(emulator.ca_file),
    }


def register(emulator: Entra, issuer: Issuer) -> None:
    """Create the identity that trusts the subject of the sidecar's token file."""
    emulator.trust(issuer.url, issuer.jwks)
    emulator.register(TENANT, CLIENT, FederatedCredential(issuer.url, SUBJECT))


@contextmanager
def sidecar(directory: Path, emulator: Entra, issuer: Issuer, *flags: str, **variables: str) -> Iterator[Sidecar]:
    """Run a proxy with a token of the registered service account, and wait until it is ready."""
    token_file, log, (port,) = directory / "azure-identity-token", directory / "azwi-proxy.log", free_ports(1)
    token_file.write_text(issuer.token(SUBJECT))
    command = [*PROGRAM, f"--proxy-port={port}", "--log-level=info", *flags]
    env = {**environment(emulator, token_file), **variables}
    with running(command, log, cwd=ROOT, env=env) as process:
        started = Sidecar(process, port, token_file, log)
        wait_until(lambda: is_ready(started), process, log, MAX_WAIT_SECONDS)
        yield started


def is_ready(started: Sidecar) -> bool:
    """Whether `/readyz` answers 200."""
    try:
        return started.get("/readyz").status == http.client.OK
    except OSError:
        return False
