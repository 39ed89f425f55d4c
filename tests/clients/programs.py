"""How each client gets a token: a command, and how its output is read.

Those of other languages are built once by `make client-tools`. SDKs print the seconds that their first token took, and
the token; of `az`, MSAL and curl the time is that of the whole command.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from tests.support.netns import IMDS

CACHE: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "azwi", "clients")
TOKEN_PATH: Final = "/metadata/identity/oauth2/token"


@dataclass(frozen=True)
class Client:
    """One client.

    `command` takes the address of IMDS and a resource. `needs` is a file of the cache, "" for a client that the tests
    already have. `reads_host` is whether AZURE_POD_IDENTITY_AUTHORITY_HOST counts. `retries` is whether it tries again
    after 429 and 503, as their Retry-After says.
    """

    command: Callable[[str, str], list[str]]
    needs: str = ""
    reads_host: bool = True
    retries: bool = True
    env: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> str:
        """Why the client cannot run here, "" if it can."""
        if self.needs and not (CACHE / self.needs).exists():
            return f"no {CACHE / self.needs}: make client-tools, which says why it left one out"
        program = self.command(IMDS, "")[0]
        return "" if shutil.which(program) else f"no {program} on PATH"


def _go(kind: str) -> Client:
    # The address is built in: https://github.com/AzureAD/microsoft-authentication-library-for-go, managedidentity.go
    command = str(CACHE / "go" / "token")
    return Client(lambda _, resource: [command, kind, resource], needs="go/token", reads_host=False)


def _javascript(kind: str) -> Client:
    program = str(CACHE / "javascript" / "token.js")
    return Client(lambda _, resource: ["node", program, kind, resource], needs="javascript/stamp")


def _java(kind: str) -> Client:
    classes = f"{CACHE / 'java'}:{CACHE / 'java' / 'lib'}/*"
    # One garbage collector's thread and a small heap, as many run at once.
    options = ("-XX:+UseSerialGC", "-Xmx256m", "-XX:TieredStopAtLevel=1")
    return Client(lambda _, resource: ["java", *options, "-cp", classes, "Token", kind, resource], needs="java/stamp")


def _python(name: str, *, retries: bool = True) -> Client:
    return Client(lambda _, resource: [sys.executable, "-m", "tests.clients.python", name, resource], retries=retries)


def _az(_: str, resource: str) -> list[str]:
    az = f"{CACHE / 'az' / 'bin' / 'python'} -m azure.cli"
    steps = (
        f"{az} login --identity --allow-no-subscriptions --output none",
        f"{az} account get-access-token --resource {resource} --query accessToken --output tsv",
        f"{az} logout",
    )
    return ["sh", "-c", 'export AZURE_CONFIG_DIR="$(mktemp -d)"; ' + " && ".join(steps)]


def _curl(host: str, resource: str) -> list[str]:
    url = f"http://{host}{TOKEN_PATH}?api-version=2018-02-01&resource={resource}"
    return ["curl", "--silent", "--show-error", "--fail", "--retry", "5", "--header", "Metadata: true", url]


CLIENTS: Final[Mapping[str, Client]] = {
    "go": _go("managed-identity"),
    "go-default": _go("default"),
    "javascript": _javascript("managed-identity"),
    "javascript-default": _javascript("default"),
    "java": _java("managed-identity"),
    "java-default": _java("default"),
    "python": _python("managed-identity"),
    "python-default": _python("default"),
    "msal": _python("msal", retries=False),
    "az": Client(_az, needs="az/stamp", retries=False, env={"AZURE_CORE_COLLECT_TELEMETRY": "false"}),
    "curl": Client(_curl),
}


def require() -> dict[str, Client]:
    """The clients that can run here; without any of them the test fails where REQUIRE_CLIENTS=1."""
    missing = {name: reason for name, client in CLIENTS.items() if (reason := client.missing())}
    if missing and os.environ.get("REQUIRE_CLIENTS") == "1":
        pytest.fail(f"clients are missing: {missing}")
    return {name: client for name, client in CLIENTS.items() if name not in missing}


def token_in(output: str) -> tuple[str, float | None]:
    """The token in a client's output, and the seconds that it took if the client says so."""
    text = output.strip()
    if text.startswith("{"):
        return str(json.loads(text)["access_token"]), None
    seconds, blank, token = text.rpartition(" ")
    return token, float(seconds) if blank else None
