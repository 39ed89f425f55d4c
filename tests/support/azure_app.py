"""An app that gets tokens as apps do: with the Azure SDKs, unmodified, in a process of its own.

`python -m tests.support.azure_app RESOURCE NAME…` prints a JSON object: for each name of CREDENTIALS the token, or what
the SDK raised. OTHER_CLIENT_ID is the identity that an app asks for by its client id. The file runs alone too, wherever
the SDKs are.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import azure.identity
import azure.identity.aio
import msal  # type: ignore[import-untyped]  # it has no types
import requests

OTHER_CLIENT_ID: Final = "OTHER_CLIENT_ID"


def _sdk(credential: Callable[[], Any]) -> Callable[[str], str]:
    def token(resource: str) -> str:
        with credential() as opened:
            return str(opened.get_token(f"{resource}/.default").token)

    return token


def _asynchronous(resource: str) -> str:
    async def token() -> str:
        async with azure.identity.aio.ManagedIdentityCredential() as credential:
            return str((await credential.get_token(f"{resource}/.default")).token)

    return asyncio.run(token())


def _msal(identity: Callable[[], Any]) -> Callable[[str], str]:
    def token(resource: str) -> str:
        with requests.Session() as session:
            client = msal.ManagedIdentityClient(identity(), http_client=session)
            answer = client.acquire_token_for_client(resource=resource)
        if "access_token" not in answer:
            raise RuntimeError(answer)
        return str(answer["access_token"])

    return token


def _msal_confidential(resource: str) -> str:
    """Get a token with msal alone, from an app that reads the projected token itself."""
    with open(os.environ["AZURE_FEDERATED_TOKEN_FILE"], encoding="utf-8") as file:  # noqa: PTH123  as in their code
        assertion = file.read()
    client = msal.ConfidentialClientApplication(
        os.environ["AZURE_CLIENT_ID"],
        client_credential={"client_assertion": assertion},
        authority=os.environ["AZURE_AUTHORITY_HOST"] + os.environ["AZURE_TENANT_ID"],
        instance_discovery=False,
    )
    answer = client.acquire_token_for_client([f"{resource}/.default"])
    return str(answer["access_token"])


CREDENTIALS: Final[dict[str, Callable[[str], str]]] = {
    "managed-identity": _sdk(azure.identity.ManagedIdentityCredential),
    "managed-identity-async": _asynchronous,
    "managed-identity-client-id": _sdk(
        lambda: azure.identity.ManagedIdentityCredential(client_id=os.environ[OTHER_CLIENT_ID])
    ),
    "managed-identity-object-id": _sdk(
        lambda: azure.identity.ManagedIdentityCredential(identity_config={"object_id": os.environ[OTHER_CLIENT_ID]})
    ),
    "managed-identity-resource-id": _sdk(
        lambda: azure.identity.ManagedIdentityCredential(identity_config={"resource_id": "/subscriptions/0/web"})
    ),
    "default": _sdk(azure.identity.DefaultAzureCredential),
    "default-client-id": _sdk(
        lambda: azure.identity.DefaultAzureCredential(workload_identity_client_id=os.environ[OTHER_CLIENT_ID])
    ),
    "workload-identity": _sdk(azure.identity.WorkloadIdentityCredential),
    "workload-identity-client-id": _sdk(
        lambda: azure.identity.WorkloadIdentityCredential(client_id=os.environ[OTHER_CLIENT_ID])
    ),
    "second-token": _sdk(
        lambda: azure.identity.WorkloadIdentityCredential(
            client_id=os.environ[OTHER_CLIENT_ID], token_file_path=os.environ["AZURE_SECOND_FEDERATED_TOKEN_FILE"]
        )
    ),
    "identity-binding": _sdk(lambda: azure.identity.WorkloadIdentityCredential(enable_azure_proxy=True)),
    "msal": _msal(msal.SystemAssignedManagedIdentity),
    "msal-client-id": _msal(lambda: msal.UserAssignedManagedIdentity(client_id=os.environ[OTHER_CLIENT_ID])),
    "msal-confidential": _msal_confidential,
}


@dataclass(frozen=True)
class Tokens:
    """The tokens of an app, and the messages of the exceptions that it got instead, by the names of credentials."""

    tokens: dict[str, str]
    errors: dict[str, str]


def read(done: "subprocess.CompletedProcess[str]") -> Tokens:
    """Read what the app printed."""
    assert done.returncode == 0, done.stdout + done.stderr
    return Tokens(**json.loads(done.stdout))


def command(resource: str, *credentials: str) -> list[str]:
    """Write the command that runs the app."""
    return [sys.executable, "-m", "tests.support.azure_app", resource, *credentials]


def run(env: dict[str, str], resource: str, *credentials: str) -> Tokens:
    """Run the app on this machine."""
    done = subprocess.run(
        command(resource, *credentials),
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    return read(done)


def main(resource: str, *credentials: str) -> None:
    """Ask with each credential in turn."""
    found = Tokens({}, {})
    for name in credentials:
        try:
            found.tokens[name] = CREDENTIALS[name](resource)
        except Exception as error:  # noqa: BLE001  whatever an SDK raises is what the test looks at
            found.errors[name] = f"{type(error).__name__}: {error}"
    print(json.dumps({"tokens": found.tokens, "errors": found.errors}))  # noqa: T201  a program's output


if __name__ == "__main__":
    main(*sys.argv[1:])
