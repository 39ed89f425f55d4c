"""Two exchanges for one token, over real TLS, against two tenants."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from azure_workload_identity import names
from imds_proxy import trust
from imds_proxy.clock import Clock
from imds_proxy.exchange import TOTAL_SECONDS, Exchange
from imds_proxy.request import ImdsError, TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.second_exchange import second_exchange
from imds_proxy.settings import load, parse
from imds_proxy.token_cache import TokenCache
from testbed.entra import Entra, FederatedCredential, Issuer
from testbed.processes import MAX_WAIT_SECONDS
from testbed.sidecar import CLIENT, RESOURCE, SUBJECT, TENANT, environment, sidecar

OTHER_TENANT = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6f"
APPLICATION = "2e6a9c41-7b0d-4f3e-8c52-9d1a6b7e0f34"
ASKED = TokenRequest(APPLICATION, RESOURCE)
EXCHANGE_SCOPE = f"{names.DEFAULT_AUDIENCE}/.default"
Exchanged = Callable[[TokenRequest], Awaitable[AccessToken]]


@pytest.fixture(scope="session", autouse=True)
def application(running_entra: Entra) -> None:
    """Register a multitenant application that trusts the pod's identity, and that another tenant has."""
    trusted = FederatedCredential(running_entra.issuer(TENANT), running_entra.object_id(TENANT, CLIENT))
    running_entra.register(TENANT, APPLICATION, trusted, managed=False)
    running_entra.provision(OTHER_TENANT, APPLICATION, home=TENANT)


class Bench:
    """Two exchanges whose waits take no time, behind a cache as in the proxy."""

    def __init__(self, emulator: Entra, token_file: Path) -> None:
        self.emulator = emulator
        self.token_file = token_file
        self.variables = {
            **environment(emulator, token_file),
            names.ENV_PROXY_THEN_CLIENT_ID: APPLICATION,
            names.ENV_PROXY_THEN_TENANT_ID: OTHER_TENANT,
        }
        self.now = 5_000.0

    def clock(self) -> Clock:
        """Make a clock whose waits between attempts take no time; renewals are never due by themselves."""

        async def sleep(seconds: float) -> None:
            if seconds > TOTAL_SECONDS:
                await asyncio.get_running_loop().create_future()
            self.now += seconds

        return Clock(monotonic=lambda: self.now, sleep=sleep, random=lambda: 0.5)

    async def later(self, _: TokenCache) -> None:
        """Let the time of a token pass."""
        self.now += 3700

    def run(self, *steps: Callable[[TokenCache], Awaitable[object]]) -> list[object]:
        """Take steps with one cache, and return their results."""

        async def run() -> list[object]:
            settings = load(parse([], {}), self.variables)
            trusted = trust.system(settings.environ)
            first_trust = trust.of_token_proxy(settings.token_proxy, trusted) if settings.token_proxy else trusted
            clock = self.clock()
            first = Exchange(settings, first_trust, clock, lambda *_: None)
            exchange = second_exchange(first, settings, trusted, clock, lambda *_: None)
            tokens = TokenCache(exchange, clock)
            try:
                return [await step(tokens) for step in steps]
            finally:
                await tokens.close()

        return asyncio.run(run())

    def failed(self, asked: TokenRequest = ASKED) -> ImdsError:
        """Ask without success."""
        with pytest.raises(ImdsError) as caught:
            self.run(lambda tokens: tokens.get(asked))
        return caught.value

    def seen(self) -> list[tuple[str, str, str, int]]:
        """What the tenants were asked."""
        return [(one.tenant, one.client_id, one.scope, one.code) for one in self.emulator.exchanges]


@pytest.fixture
def bench(emulator: Entra, issuer: Issuer, tmp_path: Path) -> Bench:
    """Make the exchanges with a good token file."""
    token_file = tmp_path / "token"
    token_file.write_text(issuer.token(SUBJECT))
    return Bench(emulator, token_file)


def ask(resource: str = RESOURCE, client_id: str = APPLICATION) -> Callable[[TokenCache], Awaitable[AccessToken]]:
    """Ask for a token."""
    return lambda tokens: tokens.get(TokenRequest(client_id, resource))


FIRST = (TENANT, CLIENT, EXCHANGE_SCOPE, 0)
SECOND = (OTHER_TENANT, APPLICATION, f"{RESOURCE}/.default", 0)


def test_token(bench: Bench) -> None:
    """The pod's identity gets a token that proves the application, which gets the other tenant's token."""
    (token,) = bench.run(ask())
    assert isinstance(token, AccessToken)
    claims = bench.emulator.verify(token.secret)
    assert (claims["tid"], claims["appid"], claims["aud"]) == (OTHER_TENANT, APPLICATION, RESOURCE)
    assert bench.seen() == [FIRST, SECOND]


def test_first_token_is_kept(bench: Bench) -> None:
    """For a second resource only the second exchange is made, and for a cached token none."""
    bench.run(ask(), ask(), ask("https://storage.azure.com"))
    assert [seen[:2] for seen in bench.seen()] == [FIRST[:2], SECOND[:2], SECOND[:2]]


def test_first_token_is_renewed(bench: Bench) -> None:
    """By the monotonic clock an hour later both tokens are renewed."""
    bench.run(ask(), bench.later, ask())
    assert [seen[:2] for seen in bench.seen()][-2:] == [FIRST[:2], SECOND[:2]]


def test_many_resources_at_once(bench: Bench) -> None:
    """However many tokens are asked for at once, the first exchange is one."""
    many = [TokenRequest(APPLICATION, f"https://vault{number}.test") for number in range(20)]
    bench.run(lambda tokens: asyncio.gather(*map(tokens.get, many)))
    assert len([seen for seen in bench.seen() if seen == FIRST]) == 1
    assert len(bench.seen()) == 21


def test_other_client_id(bench: Bench) -> None:
    """A request that names another identity of the pod is one exchange."""
    bench.run(ask(client_id=CLIENT))
    assert bench.seen() == [(TENANT, CLIENT, f"{RESOURCE}/.default", 0)]


def test_case_of_client_id(bench: Bench) -> None:
    """Entra compares client ids without regard to case, and so does the proxy."""
    bench.run(ask(client_id=APPLICATION.upper()))
    assert len(bench.seen()) == 2


def test_same_tenant(bench: Bench) -> None:
    """Without a tenant of its own the application is used in the pod's."""
    del bench.variables[names.ENV_PROXY_THEN_TENANT_ID]
    bench.run(ask())
    assert bench.seen()[-1][:2] == (TENANT, APPLICATION)


def test_first_refused(bench: Bench, issuer: Issuer) -> None:
    """A failure of the first exchange says so, with the claims of the pod's token, and the second is not made."""
    bench.token_file.write_text(issuer.token("system:serviceaccount:shop:other"))
    error = bench.failed()
    assert error.status == 400
    assert error.message.startswith(f"the first of two exchanges failed, for the pod's identity {CLIENT} in tenant ")
    assert "sub system:serviceaccount:shop:other" in error.message
    assert {seen[0] for seen in bench.seen()} == {TENANT}
    # The retries that can help are made once, not by each of the exchanges.
    assert len(bench.seen()) == 5


def test_second_refused(bench: Bench) -> None:
    """A failure of the second exchange says so, and what its application needs."""
    bench.variables[names.ENV_PROXY_THEN_TENANT_ID] = "0d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6f"
    bench.emulator.register("0d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6f", CLIENT)
    error = bench.failed()
    assert error.message.startswith(
        f"the first of two exchanges gave a token, and the second failed, for application {APPLICATION} in tenant 0d1b"
    )
    assert f"az ad sp create --id {APPLICATION}" in error.message
    assert "Entra said: AADSTS700016" in error.message


def test_application_of_another_tenant(bench: Bench) -> None:
    """An application that the other tenant itself has registered cannot trust this tenant's identity."""
    foreign = "b3d85e20-4f61-47c9-9a0e-7d2c5b8f6e13"
    trusted = FederatedCredential(bench.emulator.issuer(TENANT), bench.emulator.object_id(TENANT, CLIENT))
    bench.emulator.register(OTHER_TENANT, foreign, trusted, managed=False)
    bench.variables[names.ENV_PROXY_THEN_CLIENT_ID] = foreign
    error = bench.failed(TokenRequest(foreign, RESOURCE))
    assert "must be registered in the tenant of the first identity" in error.message
    assert "AADSTS700236" in error.message


def test_stale_first_token(bench: Bench) -> None:
    """A first token that Entra finds expired, as after a sleep of the machine, is dropped and fetched again."""
    bench.run(ask())
    bench.emulator.exchanges.clear()
    bench.emulator.faults.lag(1, 700024)
    # The lag counts by credential: the first exchange meets it too, and waits.
    bench.run(ask())
    firsts = [seen for seen in bench.seen() if seen == FIRST]
    assert (len(firsts), bench.seen()[-1]) == (2, SECOND)


def test_outage_in_the_second(bench: Bench) -> None:
    """An outage is passed on as one that SDKs retry, and names the exchange."""

    async def begin(tokens: TokenCache) -> None:
        await tokens.get(ASKED)
        bench.emulator.faults.fail(503)
        with pytest.raises(ImdsError) as caught:
            await tokens.get(TokenRequest(APPLICATION, "https://storage.azure.com"))
        assert (caught.value.status, caught.value.retry_after) == (503, 5)
        assert "and the second failed" in caught.value.message

    bench.run(begin)


def test_throttled_in_the_first(bench: Bench) -> None:
    """A Retry-After of the first exchange holds requests off as one of the second does."""
    bench.emulator.faults.throttle(60)
    error = bench.failed()
    assert (error.status, error.retry_after, error.hold_off) == (429, 20, 60)
    assert error.message.startswith("the first of two exchanges failed")


def test_binding(bench: Bench, issuer: Issuer, tmp_path: Path) -> None:
    """With an identity binding the first exchange goes to the token proxy, and the second to Entra."""
    bench.emulator.register(TENANT, CLIENT, FederatedCredential(issuer.url, SUBJECT + "-bound", names.BINDING_AUDIENCE))
    bench.token_file.write_text(issuer.token(SUBJECT + "-bound", names.BINDING_AUDIENCE))
    with bench.emulator.token_proxy(tmp_path, "proxy.azwi.test") as url:
        bench.variables |= {
            names.ENV_TOKEN_PROXY: url,
            names.ENV_TOKEN_PROXY_SNI: "proxy.azwi.test",
            names.ENV_TOKEN_PROXY_CA_FILE: str(tmp_path / "ca.crt"),
        }
        bench.run(ask())
    hosts = [one.host for one in bench.emulator.exchanges]
    assert hosts == [url.split("/")[2], bench.emulator.url.split("/")[2]]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory, running_entra: Entra, issuer: Issuer) -> Iterator[int]:
    """Run a proxy that makes two exchanges."""
    variables = {names.ENV_PROXY_THEN_CLIENT_ID: APPLICATION, names.ENV_PROXY_THEN_TENANT_ID: OTHER_TENANT}
    with sidecar(tmp_path_factory.mktemp("two"), running_entra, issuer, **variables) as started:
        yield started.port
        with suppress(ProcessLookupError):
            started.process.terminate()
        assert started.process.wait(MAX_WAIT_SECONDS) == 0
        tokens = [line for line in started.log.read_text().splitlines() if "eyJ" in line]
        assert tokens == []


def test_program(port: int, emulator: Entra, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unmodified SDK that only knows managed identity gets the other tenant's token, and the proxy stops cleanly."""
    identity = pytest.importorskip("azure.identity")
    monkeypatch.setenv(names.ENV_POD_IDENTITY_HOST, f"http://127.0.0.1:{port}")
    with identity.ManagedIdentityCredential() as credential:
        token = credential.get_token(f"{RESOURCE}/.default")
    claims = emulator.verify(token.token)
    assert (claims["tid"], claims["appid"]) == (OTHER_TENANT, APPLICATION)


def test_no_cost_elsewhere() -> None:
    """A proxy that makes one exchange does not load the code of the second."""
    loaded = "import sys, imds_proxy.lifecycle; print(*(name for name in sys.modules if 'second_exchange' in name))"
    done = subprocess.run([sys.executable, "-c", loaded], check=True, capture_output=True, text=True)
    assert done.stdout == "\n"
