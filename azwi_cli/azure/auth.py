"""The login to Azure: azure-identity's chain, or the one method that the command line names."""

# ruff: noqa: PLC0415  only the login method in use is loaded

# ruff: noqa: PLC0415  only the login method in use is loaded

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from azwi_cli.azure.clouds import Cloud
from azwi_cli.console.errors import CommandError, UsageError
from webhook.admission.values import is_tenant, is_uuid

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

ENV_SECRET: Final = "AZURE_CLIENT_SECRET"  # noqa: S105  the name of a variable
ENV_CERTIFICATE_PASSWORD: Final = "AZURE_CLIENT_CERTIFICATE_PASSWORD"  # noqa: S105  as above
# The Azure CLI itself takes about two seconds to start, on a busy machine more.
PROCESS_SECONDS: Final = 30
MAX_FILE: Final = 1 << 20


class Method(StrEnum):
    """The methods; `cli`, `client_secret` and `client_certificate` are those of v1.6.0."""

    DEFAULT = "default"
    CLI = "cli"
    CLIENT_SECRET = "client_secret"  # noqa: S105  the name of a method
    CLIENT_CERTIFICATE = "client_certificate"
    MANAGED_IDENTITY = "managed_identity"
    WORKLOAD_IDENTITY = "workload_identity"
    DEVICE_CODE = "device_code"


@dataclass(frozen=True, slots=True)
class Login:
    """The login flags; paths are of PEM files, empty means not given."""

    method: Method = Method.DEFAULT
    tenant_id: str = ""
    subscription_id: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    client_secret_file: str = ""
    certificate_path: str = ""
    private_key_path: str = ""

    def checked(self) -> "Login":
        """The same login with its effective method.

        Raises:
            CommandError: when something is missing or is not a UUID.
        """
        for flag, value in (("--client-id", self.client_id), ("--subscription-id", self.subscription_id)):
            if value and not is_uuid(value):
                raise UsageError(
                    f"{flag} {value!r} is not a UUID", "check it for a missing, extra or mistyped character"
                )
        if self.tenant_id and not is_tenant(self.tenant_id):
            raise UsageError(f"--tenant-id {self.tenant_id!r} is neither a UUID nor a domain", "az account show has it")
        # As in v1.6.0, where the method need not be named beside the two.
        if self.method in (Method.CLI, Method.DEFAULT) and self.client_id and self._has_secret:
            return self._with(Method.CLIENT_SECRET)
        if self.method in (Method.CLIENT_SECRET, Method.CLIENT_CERTIFICATE) and not self.client_id:
            raise UsageError(f"--auth-method={self.method} needs --client-id", "it may be in AZURE_CLIENT_ID")
        if self.method is Method.CLIENT_CERTIFICATE and not self.certificate_path:
            raise UsageError(
                "--auth-method=client_certificate needs --certificate-path",
                "a PEM file; the key is in it too, or in the file that --private-key-path names",
            )
        return self

    @property
    def _has_secret(self) -> bool:
        return bool(self.client_secret or self.client_secret_file)

    def _with(self, method: Method) -> "Login":
        values = {name: getattr(self, name) for name in Login.__slots__}
        return Login(**{**values, "method": method})


def credential(login: Login, cloud: Cloud, tenant: str, environ: Mapping[str, str] = os.environ) -> "TokenCredential":
    """What gets tokens.

    Args:
        login: checked.
        cloud: where to log in.
        tenant: where the subscription is; methods that carry a tenant of their own take it only when it was given.
        environ: where secrets may be.

    Raises:
        CommandError: when a file cannot be read or azure-identity rejects the given values.
    """
    try:
        return _MAKERS[login.method](login, cloud, tenant, environ)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CommandError(
            f"--auth-method={login.method} cannot be used: {reason}", "azwi serviceaccount --help lists what it needs"
        ) from error


def _default(_: Login, cloud: Cloud, __: str, ___: Mapping[str, str]) -> "TokenCredential":
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(**_authority(cloud), process_timeout=PROCESS_SECONDS)


def _cli(login: Login, _: Cloud, __: str, ___: Mapping[str, str]) -> "TokenCredential":
    from azure.identity import AzureCliCredential

    # The CLI accepts only one of the two; a subscription also selects the account.
    subscription = None if login.tenant_id else login.subscription_id or None
    return AzureCliCredential(tenant_id=login.tenant_id, subscription=subscription, process_timeout=PROCESS_SECONDS)


def _client_secret(login: Login, cloud: Cloud, tenant: str, environ: Mapping[str, str]) -> "TokenCredential":
    from azure.identity import ClientSecretCredential

    given = login.client_secret or (
        _read(login.client_secret_file).decode().strip() if login.client_secret_file else ""
    )
    secret = given or environ.get(ENV_SECRET, "")
    if not secret:
        raise UsageError(
            "--auth-method=client_secret needs a secret",
            f"put it into {ENV_SECRET}, or into a file that --client-secret-file names",
        )
    return ClientSecretCredential(tenant, login.client_id, secret, **_authority(cloud))


def _client_certificate(login: Login, cloud: Cloud, tenant: str, environ: Mapping[str, str]) -> "TokenCredential":
    from azure.identity import CertificateCredential

    files = filter(None, (login.private_key_path, login.certificate_path))
    data = b"\n".join(_read(file) for file in files)
    password = environ.get(ENV_CERTIFICATE_PASSWORD) or None
    return CertificateCredential(tenant, login.client_id, certificate_data=data, password=password, **_authority(cloud))


def _managed_identity(login: Login, _: Cloud, __: str, ___: Mapping[str, str]) -> "TokenCredential":
    from azure.identity import ManagedIdentityCredential

    return ManagedIdentityCredential(client_id=login.client_id or None)


def _workload_identity(login: Login, cloud: Cloud, _: str, __: Mapping[str, str]) -> "TokenCredential":
    from azure.identity import WorkloadIdentityCredential

    # The webhook's variables say the rest.
    given = {"tenant_id": login.tenant_id, "client_id": login.client_id}
    return WorkloadIdentityCredential(**{name: value for name, value in given.items() if value}, **_authority(cloud))


def _device_code(login: Login, cloud: Cloud, tenant: str, _: Mapping[str, str]) -> "TokenCredential":
    from azure.identity import DeviceCodeCredential

    def prompt(address: str, code: str, _: datetime) -> None:
        click.echo(f"To log in, open {address} and enter the code {code}", err=True)

    client: dict[str, Any] = {"client_id": login.client_id} if login.client_id else {}
    return DeviceCodeCredential(tenant_id=tenant, prompt_callback=prompt, **client, **_authority(cloud))


Maker = Callable[[Login, Cloud, str, Mapping[str, str]], "TokenCredential"]
_MAKERS: Final[Mapping[Method, Maker]] = {
    Method.DEFAULT: _default,
    Method.CLI: _cli,
    Method.CLIENT_SECRET: _client_secret,
    Method.CLIENT_CERTIFICATE: _client_certificate,
    Method.MANAGED_IDENTITY: _managed_identity,
    Method.WORKLOAD_IDENTITY: _workload_identity,
    Method.DEVICE_CODE: _device_code,
}


def _authority(cloud: Cloud) -> dict[str, Any]:
    return {"authority": cloud.authority_host, "disable_instance_discovery": not cloud.well_known}


def _read(file: str) -> bytes:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MAX_FILE)
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}", "name a file that you can read") from error
