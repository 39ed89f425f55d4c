"""The Azure SDKs, unmodified and in a process of their own, straight to the emulator."""

from pathlib import Path

from azure_workload_identity import names
from testbed.entra import Entra, FederatedCredential
from tests.support import azure_app
from tests.testbed.entra.client import Client

BINDING_AUDIENCE = "api://AKSIdentityBinding"
DIRECT = ("workload-identity", "default", "msal-confidential")


def environment(client: Client, directory: Path, assertion: str) -> dict[str, str]:
    """Write what the webhook injects, with the CA for the SDKs."""
    token_file = directory / "token"
    token_file.write_text(assertion)
    return {
        names.ENV_CLIENT_ID: client.client_id,
        names.ENV_TENANT_ID: client.tenant,
        names.ENV_TOKEN_FILE: str(token_file),
        names.ENV_AUTHORITY_HOST: f"{client.entra.url}/",
        "REQUESTS_CA_BUNDLE": str(client.entra.ca_file),
    }


def test_direct(client: Client, running: Entra, tmp_path: Path) -> None:
    """The SDKs' workload identity credentials work with the emulator."""
    env = environment(client, tmp_path, client.issuer.token(client.subject))
    found = azure_app.run(env, "https://vault.azure.net", *DIRECT)

    assert found.errors == {}
    claims = {name: running.verify(token) for name, token in found.tokens.items()}
    assert {name: (each["appid"], each["aud"]) for name, each in claims.items()} == dict.fromkeys(
        DIRECT, (client.client_id, "https://vault.azure.net")
    )


def test_refused(client: Client, tmp_path: Path) -> None:
    """The SDK reports Entra's error after one request."""
    env = environment(client, tmp_path, client.issuer.token("system:serviceaccount:shop:other"))
    before = len(client.entra.exchanges)
    found = azure_app.run(env, "https://vault.azure.net", "workload-identity")

    assert "AADSTS700213: No matching federated identity record" in found.errors["workload-identity"]
    assert len(client.entra.exchanges) == before + 1


def test_identity_binding(client: Client, running: Entra, tmp_path: Path) -> None:
    """An SDK that knows identity bindings sends the exchange to the token proxy, under its server name."""
    running.register(
        client.tenant, client.client_id, FederatedCredential(client.issuer.url, "binding", BINDING_AUDIENCE)
    )
    env = environment(client, tmp_path, client.issuer.token("binding", BINDING_AUDIENCE))
    proxy = tmp_path / "proxy"
    with running.token_proxy(proxy, "binding.azwi.test", "/bindings/one") as url:
        endpoint = {
            names.ENV_TOKEN_PROXY: url,
            names.ENV_TOKEN_PROXY_SNI: "binding.azwi.test",
            names.ENV_TOKEN_PROXY_CA_FILE: str(proxy / "ca.crt"),
        }
        found = azure_app.run({**env, **endpoint}, "https://vault.azure.net", "identity-binding")

    assert found.errors == {}
    assert running.verify(found.tokens["identity-binding"])["appid"] == client.client_id
    assert running.exchanges[-1].host == url.split("/")[2]


def test_two_tokens_in_one_app(client: Client, running: Entra, tmp_path: Path) -> None:
    """One app uses an identity binding with the first token and federates directly with the second one."""
    direct = Client(running, client.issuer)
    running.register(direct.tenant, direct.client_id, FederatedCredential(client.issuer.url, client.subject))
    bound = Client(running, client.issuer)
    running.register(
        bound.tenant, bound.client_id, FederatedCredential(client.issuer.url, client.subject, BINDING_AUDIENCE)
    )
    second = tmp_path / "second-identity-token"
    second.write_text(client.issuer.token(client.subject))
    proxy = tmp_path / "proxy"
    with running.token_proxy(proxy, "binding.azwi.test") as url:
        env = {
            **environment(bound, tmp_path, client.issuer.token(client.subject, BINDING_AUDIENCE)),
            names.ENV_SECOND_TOKEN_FILE: str(second),
            azure_app.OTHER_CLIENT_ID: direct.client_id,
            names.ENV_TOKEN_PROXY: url,
            names.ENV_TOKEN_PROXY_SNI: "binding.azwi.test",
            names.ENV_TOKEN_PROXY_CA_FILE: str(proxy / "ca.crt"),
        }
        credentials = ("identity-binding", "second-token", "workload-identity-client-id")
        found = azure_app.run(env, "https://vault.azure.net", *credentials)

    assert {name: running.verify(token)["appid"] for name, token in found.tokens.items()} == {
        "identity-binding": bound.client_id,
        "second-token": direct.client_id,
    }
    assert "AADSTS700212" in found.errors["workload-identity-client-id"]
