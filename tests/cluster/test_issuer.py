"""The documents of an issuer are those of a real API server."""

import json
from base64 import urlsafe_b64decode
from pathlib import Path

from azure_workload_identity.types import JsonObject
from azwi_cli.issuer import discovery
from testbed.cluster.control_plane import ControlPlane
from tests.azwi_cli.test_main import azwi


def by_kid(jwks: JsonObject) -> JsonObject:
    """Return the keys of a JWKS by their kids."""
    return {key["kid"]: key for key in jwks["keys"]}


def test_keys_are_the_api_servers(control_plane: ControlPlane) -> None:
    """From the same files come the keys that the API server publishes, RSA and EC, to the last member."""
    files = f"{control_plane.directory / 'accounts.crt'},{control_plane.directory / 'retired.key'}"
    ours = json.loads(azwi("jwks", "--public-keys", files).stdout)
    assert by_kid(ours) == by_kid(control_plane.request("GET", discovery.JWKS_PATH))


def test_kid_is_the_tokens(control_plane: ControlPlane, plain_namespace: str) -> None:
    """A token that the API server signs has the kid that we give its key."""
    header = control_plane.token(plain_namespace, "app").partition(".")[0]
    kid = json.loads(urlsafe_b64decode(header + "=="))["kid"]
    jwks = json.loads(azwi("jwks", "--public-keys", str(control_plane.directory / "accounts.crt")).stdout)
    assert list(by_kid(jwks)) == [kid]


def test_both_documents(control_plane: ControlPlane) -> None:
    """From a live cluster come its issuer and its keys, to be published elsewhere."""
    done = azwi("oidc", "--from-cluster", "--kubeconfig", str(control_plane.kubeconfig), "-o", "json")
    made = json.loads(done.stdout)
    theirs = control_plane.request("GET", discovery.CONFIGURATION_PATH)
    assert made[discovery.CONFIGURATION_PATH] == theirs | {"jwks_uri": "https://issuer.azwi.test/openid/v1/jwks"}
    assert by_kid(made[discovery.JWKS_PATH]) == by_kid(control_plane.request("GET", discovery.JWKS_PATH))


def test_published_keys(control_plane: ControlPlane, tmp_path: Path) -> None:
    """The keys of a live cluster are published in a directory as the API server publishes them."""
    flags = ("--from-cluster", "--kubeconfig", str(control_plane.kubeconfig), "--directory", str(tmp_path))
    done = azwi("oidc", "publish", *flags)
    assert done.exit_code == 0, done.output
    published = json.loads((tmp_path / "openid" / "v1" / "jwks").read_text())
    assert by_kid(published) == by_kid(control_plane.request("GET", discovery.JWKS_PATH))
