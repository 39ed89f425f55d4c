"""`make entra`: the emulator in the foreground, with one identity to try it with."""

import argparse
import contextlib
import json
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import jwt

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.entra import Entra, FederatedCredential, Issuer, entra

TENANT_ID: Final = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"
CLIENT_ID: Final = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b"
SUBJECT: Final = "system:serviceaccount:default:quickstart"
DAY: Final = 86400


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make entra", description="Emulate Microsoft Entra's token endpoint on loopback until Ctrl-C."
    )
    parser.add_argument("--directory", type=Path, help="where ca.crt, env and assertion go (default: a temporary one)")
    parser.add_argument("--port", type=int, default=0, help="port of 127.0.0.1 (default: a free one)")
    parser.add_argument("--tenant-id", default=TENANT_ID)
    parser.add_argument("--client-id", default=CLIENT_ID, help="the identity")
    parser.add_argument("--subject", default=SUBJECT, help="the ServiceAccount that the identity trusts")
    parser.add_argument("--audience", default=names.DEFAULT_AUDIENCE)
    parser.add_argument("--issuer", help="issuer of your cluster, to the last character; needs --jwks")
    parser.add_argument("--jwks", type=Path, help="its keys: kubectl get --raw /openid/v1/jwks")
    options = parser.parse_args(arguments)
    if bool(options.issuer) != bool(options.jwks):
        parser.error("--issuer and --jwks belong together")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run the emulator until a signal; the exit status is 1 if it cannot start."""
    options = _options(arguments)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with (
            _directory(options.directory) as directory,
            entra(directory, listener=socket.create_server(("127.0.0.1", options.port))) as emulator,
        ):
            _say(_introduction(emulator, options, directory))
            stop.wait()
    except (OSError, OverflowError, ValueError) as error:
        print(f"make entra: {error}", file=sys.stderr)  # noqa: T201  a program's output
        return 1
    return 0


@contextlib.contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given.absolute()
        return
    with tempfile.TemporaryDirectory(prefix="azwi-entra-") as temporary:
        yield Path(temporary)


def _read_jwks(file: Path) -> JsonObject:
    try:
        jwks: JsonObject = json.loads(file.read_text())
        jwt.PyJWKSet.from_dict(jwks)
    except (ValueError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError(f"{file} is not a JWKS: {error}") from error
    return jwks


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201  a program's output


def _introduction(emulator: Entra, options: argparse.Namespace, directory: Path) -> str:
    assertion = directory / "assertion"
    if options.jwks:
        issuer = options.issuer
        emulator.trust(issuer, _read_jwks(options.jwks))
        source = f"put a token of the ServiceAccount into {assertion}"
    else:
        made = Issuer()
        issuer = made.url
        emulator.trust(issuer, made.jwks)
        assertion.write_text(made.token(options.subject, options.audience, lifetime=DAY))
        source = f"{assertion}, valid for a day"
    credential = FederatedCredential(issuer, options.subject, options.audience)
    emulator.register(options.tenant_id, options.client_id, credential)
    env = directory / "env"
    variables = {
        names.ENV_AUTHORITY_HOST: f"{emulator.url}/",
        names.ENV_TENANT_ID: options.tenant_id,
        names.ENV_CLIENT_ID: options.client_id,
        names.ENV_TOKEN_FILE: str(assertion),
        "SSL_CERT_FILE": str(emulator.ca_file),
        "REQUESTS_CA_BUNDLE": str(emulator.ca_file),
    }
    env.write_text("".join(f"export {name}='{value}'\n" for name, value in variables.items()))
    return f"""Microsoft Entra, emulated, on {emulator.url} until Ctrl-C

  tenant      {options.tenant_id}
  identity    {options.client_id}
  trusts      {options.subject}
  of issuer   {issuer}
  assertion   {source}

In another terminal:

  . {env}
  curl --cacert "$SSL_CERT_FILE" "${{AZURE_AUTHORITY_HOST}}$AZURE_TENANT_ID/oauth2/v2.0/token" \\
    --data grant_type=client_credentials \\
    --data client_id="$AZURE_CLIENT_ID" \\
    --data-urlencode scope=https://vault.azure.net/.default \\
    --data-urlencode client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer \\
    --data-urlencode client_assertion@"$AZURE_FEDERATED_TOKEN_FILE"
"""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
