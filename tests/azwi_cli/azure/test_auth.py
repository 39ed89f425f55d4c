"""Ways to log in."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from azwi_cli.azure import auth, clouds
from azwi_cli.azure.auth import Login, Method
from azwi_cli.azure.pipeline import Endpoint
from azwi_cli.console.errors import CommandError, UsageError
from testbed.azure_management import Azure
from testbed.azure_management.login import install_az

TENANT = "5a3ae6a4-9d1f-4c22-a4a5-1e6f0fd1d4a1"
CLIENT = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
KINDS = {
    Method.DEFAULT: "DefaultAzureCredential",
    Method.CLI: "AzureCliCredential",
    Method.CLIENT_SECRET: "ClientSecretCredential",
    Method.CLIENT_CERTIFICATE: "CertificateCredential",
    Method.MANAGED_IDENTITY: "ManagedIdentityCredential",
    Method.WORKLOAD_IDENTITY: "WorkloadIdentityCredential",
    Method.DEVICE_CODE: "DeviceCodeCredential",
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Make a certificate and its key, in two files."""
    folder = tmp_path_factory.mktemp("certificate")
    files = str(folder / "cert.pem"), str(folder / "key.pem")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=azwi", "-days", "1"]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def made(environ: dict[str, str] | None = None, cloud: clouds.Cloud = clouds.PUBLIC, **login: Any) -> Any:  # noqa: ANN401  a credential of any class
    """Make the credential that a command line asks for."""
    return auth.credential(Login(**login).checked(), cloud, TENANT, environ or {})


@pytest.mark.parametrize("method", Method)
def test_methods(method: Method, certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each method is azure-identity's credential of that kind."""
    monkeypatch.setenv("AZURE_FEDERATED_TOKEN_FILE", str(tmp_path / "token"))
    credential = made(
        {auth.ENV_SECRET: "s3cret"},
        method=method,
        client_id=CLIENT,
        tenant_id=TENANT,
        certificate_path=certificate[0],
        private_key_path=certificate[1],
    )
    assert type(credential).__name__ == KINDS[method]
    credential.close()


@pytest.mark.parametrize("method", [Method.DEFAULT, Method.CLI])
def test_secret_without_method(method: Method) -> None:
    """A client id and a secret beside `cli` or nothing mean client_secret, as in v1.6.0."""
    credential = made(method=method, client_id=CLIENT, client_secret="s3cret")  # noqa: S106  a test's
    assert type(credential).__name__ == "ClientSecretCredential"


def test_secret_file(tmp_path: Path) -> None:
    """A secret may be in a file, and a file that cannot be read is refused."""
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    assert (
        made(method=Method.CLIENT_SECRET, client_id=CLIENT, client_secret_file=str(file))._client_credential == "s3cret"
    )
    with pytest.raises(CommandError, match="cannot read"):
        made(method=Method.CLIENT_SECRET, client_id=CLIENT, client_secret_file=str(tmp_path / "none"))


def test_secret_is_not_shown() -> None:
    """A login can be logged: the secret is not in it."""
    assert "s3cret" not in repr(Login(client_secret="s3cret"))  # noqa: S106  a test's


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ({"method": Method.CLIENT_SECRET}, "--client-id"),
        ({"method": Method.CLIENT_SECRET, "client_id": CLIENT}, "needs a secret"),
        ({"method": Method.CLIENT_CERTIFICATE, "client_id": CLIENT}, "--certificate-path"),
        ({"client_id": "8a2f2b5c"}, "not a UUID"),
        ({"subscription_id": "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c"}, "--subscription-id"),
    ],
)
def test_incomplete(login: dict[str, Any], expected: str) -> None:
    """What is missing or mistyped is wrong usage, and never somebody else's subscription."""
    with pytest.raises(UsageError, match=expected):
        made(**login)


def test_certificate_without_key(certificate: tuple[str, str]) -> None:
    """A certificate whose key is nowhere is refused in a sentence."""
    with pytest.raises(CommandError, match="client_certificate cannot be used"):
        made(method=Method.CLIENT_CERTIFICATE, client_id=CLIENT, certificate_path=certificate[0])


def test_authority() -> None:
    """A login goes to the cloud's own authority, and to one that Entra does not know without asking Entra of it."""
    secret: dict[str, Any] = {"method": Method.CLIENT_SECRET, "client_id": CLIENT, "client_secret": "s3cret"}
    assert made(cloud=clouds.CHINA, **secret)._authority == "https://login.chinacloudapi.cn"
    own = clouds.PUBLIC.overridden(authority_host="https://login.hub.test")
    assert made(cloud=own, **secret)._instance_discovery is False


def test_azure_cli(azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `cli` the Azure CLI is asked for a token, and that is what ARM gets."""
    monkeypatch.setenv("PATH", f"{install_az(azure, tmp_path / 'bin')}:/usr/bin:/bin")
    identity = azure.add_identity("web")
    with Endpoint(azure.arm, made(method=Method.CLI), azure.arm) as arm:
        assert arm.get(identity["id"], {"api-version": "2023-01-31"})["name"] == "web"


@pytest.mark.parametrize("method", [Method.CLI, Method.DEFAULT])
def test_no_login(azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Method) -> None:
    """Without a login the message is one sentence, which says how to log in."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")  # the machine that tests run on may have an identity
    with (
        Endpoint(azure.arm, made(method=method), azure.arm) as arm,
        pytest.raises(CommandError, match="no token from Azure: Azure CLI not found on path") as failed,
    ):
        arm.get("/subscriptions", {"api-version": "2022-12-01"})
    assert "az login" in failed.value.hint
