"""`azwi token exchange` with a token from a file; with one of a cluster in tests/cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from azure_workload_identity import names
from azwi_cli.azure.options import AZURE_VARIABLES
from azwi_cli.commands.token.exchange import Assertion, TokenRequest
from azwi_cli.main import program
from testbed.entra import Entra, FederatedCredential, Issuer, entra
from tests.support.schemas import follows_schema

TENANT = "5a3ae6a4-9d1f-4c22-a4a5-1e6f0fd1d4a1"
CLIENT = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
BOUND = "7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4c"
OTHER_TENANT = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6f"
APPLICATION = "2e6a9c41-7b0d-4f3e-8c52-9d1a6b7e0f34"
UNKNOWN_TENANT = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"
UNMANAGED = "6c1f0b7d-2e94-4a3b-8d57-0e9a4c6b1f28"
FOREIGN = "b3d85e20-4f61-47c9-9a0e-7d2c5b8f6e13"
UNTRUSTED = "2e6a9c41-7b0d-4f3e-8c52-9d1a6b7e0f35"
SUBJECT = "system:serviceaccount:shop:web"

Exchange = Callable[..., Result]


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    """Make an issuer of ServiceAccount tokens."""
    return Issuer()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Entra]:
    """Run Entra with an identity that trusts the account `shop/web`."""
    with entra(tmp_path_factory.mktemp("entra")) as emulator:
        emulator.trust(issuer.url, issuer.jwks)
        emulator.register(TENANT, CLIENT, FederatedCredential(issuer.url, SUBJECT))
        yield emulator


@pytest.fixture
def exchange(served: Entra, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Exchange]:
    """Run the command with a token of a subject."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(served.ca_file))
    for name in (*AZURE_VARIABLES, names.ENV_TOKEN_FILE):
        monkeypatch.delenv(name, raising=False)

    def run(*flags: str, subject: str = SUBJECT, environ: dict[str, str] | None = None) -> Result:
        (tmp_path / "token").write_text(issuer.token(subject))
        given = {
            names.ENV_TOKEN_FILE: str(tmp_path / "token"),
            names.ENV_CLIENT_ID: CLIENT,
            names.ENV_TENANT_ID: TENANT,
            names.ENV_AUTHORITY_HOST: f"{served.url}/",
            **(environ or {}),
        }
        return CliRunner().invoke(program, ["token", "exchange", *flags], env=given)

    yield run
    served.faults.healthy()


def test_in_a_pod(exchange: Exchange, issuer: Issuer) -> None:
    """With the variables that the webhook injects and nothing else, a token comes, and what both tokens say."""
    done = exchange("--output=json")
    assert done.exit_code == 0, done.output
    document = follows_schema("token-exchange", done.stdout)
    assert document["outcome"] == "accepted"
    assert document["assertion"]["iss"] == issuer.url
    assert document["assertion"]["sub"] == SUBJECT
    assert document["request"]["scope"] == "https://management.azure.com/.default"
    assert document["token"]["appid"] == CLIENT


def test_table(exchange: Exchange, issuer: Issuer) -> None:
    """People read when the token ends, and never the token."""
    done = exchange("--scope=https://vault.azure.net/.default")
    assert "s from now)" in done.stdout
    assert "https://vault.azure.net/.default" in done.stdout
    assert issuer.token(SUBJECT).split(".")[0] not in done.output


@pytest.mark.parametrize(
    ("flags", "subject", "code", "expected"),
    [
        ((), "system:serviceaccount:shop:other", "AADSTS700213", "no federated credential has this token's subject"),
        (
            ("--client-id=7d5b2f6e-3c1a-4b8e-9a55-0c6f1e2d3a4b",),
            SUBJECT,
            "AADSTS700016",
            "no identity with this",
        ),
        (("--tenant-id=9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e",), SUBJECT, "AADSTS90002", "the tenant does not exist"),
    ],
)
def test_refused(exchange: Exchange, flags: tuple[str, ...], subject: str, code: str, expected: str) -> None:
    """A refusal exits with 1; its code is shown, what it means and what to do about it."""
    done = exchange(*flags, subject=subject)
    assert done.exit_code == 1
    assert f"refused {code}" in done.stdout
    assert code in done.stderr
    assert expected in done.stderr
    document = follows_schema("token-exchange", exchange(*flags, "--output=json", subject=subject).stdout)
    assert (document["outcome"], document["code"]) == ("refused", code)


def test_wait(exchange: Exchange, served: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --wait an answer that may pass is asked for again, as while a new credential becomes known."""
    monkeypatch.setattr("azwi_cli.azure.polling.FIRST_PAUSE", 0.01)
    served.faults.lag(2)
    before = len(served.exchanges)
    done = exchange("--wait=10s")
    assert done.exit_code == 0, done.output
    assert [exchange.code for exchange in served.exchanges[before:]] == [700213, 700213, 0]


def test_no_wait_for_what_does_not_pass(exchange: Exchange, served: Entra) -> None:
    """A refusal that stays is reported at once, however long one would wait."""
    before = len(served.exchanges)
    assert exchange("--tenant-id=9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e", "--wait=1h").exit_code == 1
    assert len(served.exchanges) == before + 1


def test_no_entra(exchange: Exchange, served: Entra) -> None:
    """What answers otherwise than Entra does, half an answer or one without end, is reported in a sentence."""
    served.faults.garbage()
    assert "answered without a token" in exchange().stderr
    served.faults.huge(4)
    assert "answered without a token" in exchange().stderr
    served.faults.cut()
    assert "no answer from" in exchange().stderr
    served.faults.fail(503)
    assert "a failure at Entra: try again" in exchange().stderr


def test_no_answer(exchange: Exchange) -> None:
    """An authority that does not answer is named."""
    done = exchange("--authority-host=https://127.0.0.1:1")
    assert done.exit_code == 1
    assert "no answer from https://127.0.0.1:1: [Errno 111] Connection refused" in done.stderr


@pytest.mark.parametrize(
    ("environ", "status", "expected"),
    [
        ({names.ENV_TOKEN_FILE: ""}, 2, "--service-account is required"),
        ({names.ENV_TOKEN_FILE: "/none"}, 1, "cannot read a token from /none: No such file or directory\n"),
        ({names.ENV_TOKEN_FILE: "/etc/hostname"}, 1, "contains no token"),
        ({names.ENV_TENANT_ID: ""}, 2, "--tenant-id is required"),
        ({names.ENV_CLIENT_ID: ""}, 1, names.CLIENT_ID),
        ({names.ENV_AUTHORITY_HOST: "http://login.test"}, 2, "not an https address"),
    ],
)
def test_not_enough(exchange: Exchange, environ: dict[str, str], status: int, expected: str) -> None:
    """What is missing or cannot be meant is reported, and nothing is sent."""
    done = exchange(environ=environ)
    assert done.exit_code == status
    assert expected in done.stderr


def test_secrets_are_not_shown() -> None:
    """An assertion can be logged: the token is not in it."""
    assert "s3cret" not in repr(Assertion("s3cret"))
    assert TokenRequest("https://login.test", "t", "c", "s").url == "https://login.test/t/oauth2/v2.0/token"


@pytest.fixture(scope="module")
def binding(served: Entra, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run the token proxy of an identity binding; the variables are what the webhook injects for it."""
    directory = tmp_path_factory.mktemp("binding")
    served.register(TENANT, BOUND, FederatedCredential(issuer.url, SUBJECT, names.BINDING_AUDIENCE))
    with served.token_proxy(directory, "binding.azwi.test", "/binding") as url:
        yield {
            names.ENV_CLIENT_ID: BOUND,
            names.ENV_TOKEN_PROXY: url,
            names.ENV_TOKEN_PROXY_SNI: "binding.azwi.test",
            names.ENV_TOKEN_PROXY_CA_FILE: str(directory / "ca.crt"),
        }


def test_identity_binding(exchange: Exchange, binding: dict[str, str], issuer: Issuer, tmp_path: Path) -> None:
    """With --identity-binding the token goes to the token proxy, by its own CA, name and path."""
    token_file = tmp_path / "binding-token"
    token_file.write_text(issuer.token(SUBJECT, names.BINDING_AUDIENCE))
    done = exchange("--identity-binding", f"--token-file={token_file}", "-o", "json", environ=binding)
    assert done.exit_code == 0, done.output
    document = follows_schema("token-exchange", done.stdout)
    assert document["outcome"] == "accepted"
    assert document["request"]["url"] == f"{binding[names.ENV_TOKEN_PROXY]}/{TENANT}/oauth2/v2.0/token"


def test_identity_binding_of_the_wrong_token(exchange: Exchange, binding: dict[str, str]) -> None:
    """The token for a direct federation is refused there, with the code and what to do."""
    done = exchange("--identity-binding", environ=binding)
    assert (done.exit_code, "AADSTS700212" in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("changed", "status", "expected"),
    [
        ({names.ENV_TOKEN_PROXY: ""}, 2, "--token-proxy is required"),
        ({names.ENV_TOKEN_PROXY: "http://127.0.0.1"}, 2, "--token-proxy is not an https address"),
        ({names.ENV_TOKEN_PROXY: "https://127.0.0.1:1"}, 1, "the token proxy is reached inside the cluster only"),
        ({names.ENV_TOKEN_PROXY_CA_FILE: "/no/such"}, 1, "/no/such has no certificates to trust"),
        ({names.ENV_TOKEN_PROXY_SNI: ""}, 1, "no answer from https://127.0.0.1"),
    ],
)
def test_identity_binding_that_is_not_set_up(
    exchange: Exchange, binding: dict[str, str], changed: dict[str, str], status: int, expected: str
) -> None:
    """A token proxy that is not named, not reached or not trusted is reported with what to do."""
    done = exchange("--identity-binding", environ={**binding, **changed})
    assert (done.exit_code, expected in done.stderr) == (status, True), done.output


@pytest.fixture(scope="module")
def second(served: Entra, issuer: Issuer) -> tuple[str, ...]:
    """Register a multitenant application, which another tenant has and which trusts one identity; the flags for it."""
    served.register(TENANT, UNTRUSTED, FederatedCredential(issuer.url, SUBJECT))
    served.register(TENANT, UNMANAGED, FederatedCredential(issuer.url, SUBJECT), managed=False)
    trusted = [
        FederatedCredential(served.issuer(TENANT), served.object_id(TENANT, identity), name=identity)
        for identity in (CLIENT, UNMANAGED)
    ]
    served.register(TENANT, APPLICATION, *trusted, managed=False)
    served.provision(OTHER_TENANT, APPLICATION, home=TENANT)
    served.register(OTHER_TENANT, FOREIGN, *trusted, managed=False)
    return f"--then-client-id={APPLICATION}", f"--then-tenant-id={OTHER_TENANT}"


def test_two_exchanges(exchange: Exchange, served: Entra, second: tuple[str, ...]) -> None:
    """The answer is exchanged once more in another tenant, for what was asked; both exchanges are shown."""
    before = len(served.exchanges)
    done = exchange(*second, "--scope=https://vault.azure.net/.default", "-o", "json")
    assert done.exit_code == 0, done.output
    document = follows_schema("token-exchange", done.stdout)
    assert document["first"]["assertion"]["sub"] == SUBJECT
    assert document["assertion"]["iss"] == served.issuer(TENANT)
    assert (document["token"]["tid"], document["token"]["appid"]) == (OTHER_TENANT, APPLICATION)
    assert document["request"]["scope"] == "https://vault.azure.net/.default"
    assert [one.tenant for one in served.exchanges[before:]] == [TENANT, OTHER_TENANT]
    assert "first answer" in exchange(*second).stdout


def test_first_exchange_refused(exchange: Exchange, second: tuple[str, ...]) -> None:
    """Where the first is refused, the second is not made."""
    done = exchange(*second, "-o", "json", subject="system:serviceaccount:shop:other")
    assert done.exit_code == 1
    document = follows_schema("token-exchange", done.stdout)
    assert (document["code"], "first" in document) == ("AADSTS700213", False)


@pytest.mark.parametrize(
    ("flag", "code", "advice"),
    [
        (f"--then-tenant-id={UNKNOWN_TENANT}", "AADSTS90002", "the tenant does not exist"),
        (f"--then-client-id={CLIENT}", "AADSTS700016", f"az ad sp create --id {CLIENT}"),
        (f"--client-id={UNTRUSTED}", "AADSTS700213", "the application needs a federated credential of issuer https://"),
        (f"--client-id={UNMANAGED}", "AADSTS700226", "must be a user-assigned managed identity"),
        (f"--then-client-id={FOREIGN}", "AADSTS700236", "registered in the tenant of the first identity"),
    ],
)
def test_second_exchange_refused(
    exchange: Exchange, second: tuple[str, ...], flag: str, code: str, advice: str
) -> None:
    """Where the second is refused, the error says so, and what it needs."""
    done = exchange(*second, flag)
    assert done.exit_code == 1
    assert "the first exchange gave a token, and the second, for application " in done.stderr
    assert code in done.stderr
    assert advice in " ".join(done.stderr.split())


def test_second_tenant_alone(exchange: Exchange) -> None:
    """A second tenant without a second identity is wrong usage."""
    assert exchange(f"--then-tenant-id={OTHER_TENANT}").exit_code == 2
