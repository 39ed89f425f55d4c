"""Every client gets tokens of the pod's identity: first ones, while Entra throttles or fails, and renewed ones."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pytest

from azure_workload_identity import names
from testbed.pods import CLIENT_ID, TENANT_ID
from testbed.processes import until
from tests.clients import programs
from tests.clients.programs import CLIENTS, Client
from tests.support import netns
from tests.support.proxied import Pod, pod

pytestmark = pytest.mark.clients

PROXY: Final = "127.0.0.1:8000"
HOST: Final[Mapping[str, Mapping[str, str]]] = {
    "redirect": {},
    "environment": {names.ENV_POD_IDENTITY_HOST: f"http://{PROXY}"},
}
MAX_SECONDS: Final = 240
AT_ONCE: Final = 12  # most of the time they wait


@dataclass(frozen=True)
class Result:
    """What a client got: a token, or the text that it printed instead."""

    token: str
    error: str
    seconds: float


@dataclass(frozen=True)
class Clients:
    """The clients that can run in a pod of one mode."""

    pod: Pod
    mode: str
    known: Mapping[str, Client]

    @property
    def retrying(self) -> list[str]:
        """The clients that try again after 429 and 503; a chain of credentials ends in the same one."""
        return [name for name, client in self.known.items() if client.retries and not name.endswith("-default")]

    def get(self, resource: str, *chosen: str) -> dict[str, Result]:
        """Run the chosen clients (default: all), some at once; NAME in the resource is replaced by the client's."""
        wanted = chosen or tuple(self.known)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return dict(zip(wanted, pool.map(lambda name: self._run(name, resource), wanted), strict=True))

    def _run(self, name: str, resource: str) -> Result:
        client = self.known[name]
        host = netns.IMDS if self.mode == "redirect" else PROXY
        ca = str(self.pod.outside.entra.ca_file)
        env = {**self.pod.env, **client.env, "REQUESTS_CA_BUNDLE": ca, "HOME": os.environ["HOME"]}
        started = time.monotonic()
        done = self.pod.outside.network.pod.run(
            *client.command(host, resource.replace("NAME", name)), env=env, seconds=MAX_SECONDS
        )
        return self._result(done, time.monotonic() - started)

    def _result(self, done: "subprocess.CompletedProcess[str]", seconds: float) -> Result:
        if done.returncode != 0:
            return Result("", done.stdout + done.stderr, seconds)
        token, own = programs.token_in(done.stdout)
        return Result(token, "", seconds if own is None else own)

    def check(self, results: Mapping[str, Result], resource: str) -> None:
        """Every result must be a token of the pod's identity for its resource."""
        assert {name: result.error for name, result in results.items() if result.error} == {}
        for name, result in results.items():
            claims = self.pod.outside.entra.verify(result.token)
            expected = (resource.replace("NAME", name), CLIENT_ID, TENANT_ID)
            assert (claims["aud"], claims["appid"], claims["tid"]) == expected


@pytest.fixture(scope="module", params=HOST)
def clients(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """Run a pod with the proxy in either mode, with every client that this machine has."""
    netns.require()
    mode = request.param
    known = {name: client for name, client in programs.require().items() if mode == "redirect" or client.reads_host}
    with pod(tmp_path_factory.mktemp(mode), HOST[mode], redirect=mode == "redirect") as made:
        yield Clients(made, mode, known)
        assert made.outside.imds.asked == []


@pytest.mark.parametrize("name", CLIENTS)
def test_client_is_here(name: str) -> None:
    """Each client runs here, or is skipped with the reason."""
    if reason := CLIENTS[name].missing():
        pytest.skip(reason)


def test_first_token(clients: Clients, capsys: pytest.CaptureFixture[str]) -> None:
    """The first token of every client is of the pod's identity, from one exchange each."""
    before = len(clients.pod.outside.entra.exchanges)
    results = clients.get("https://NAME.cold.test")

    clients.check(results, "https://NAME.cold.test")
    scopes = [exchange.scope for exchange in clients.pod.outside.entra.exchanges[before:]]
    # `az login` gets one for Azure Resource Manager first.
    assert sorted(scope for scope in scopes if ".cold.test" in scope) == sorted(
        f"https://{name}.cold.test/.default" for name in results
    )
    times = ", ".join(f"{name} {result.seconds:.2f} s" for name, result in results.items())
    with capsys.disabled():
        print(f"\nfirst token, {clients.mode}: {times}")  # noqa: T201  for the table in docs/develop/benchmarks.md


def test_throttled(clients: Clients) -> None:
    """Throttled for longer than SDKs wait at once, they retry as Retry-After says and get a token; others see why."""
    faults = clients.pod.outside.entra.faults
    try:
        faults.throttle(26, times=len(clients.retrying))
        results = clients.get("https://NAME.throttled.test", *clients.retrying)
        faults.throttle(26)
        (other,) = clients.get("https://NAME.throttled.test", "msal").values()
    finally:
        faults.healthy()

    clients.check(results, "https://NAME.throttled.test")
    assert "too many requests: wait 26 s" in other.error


def test_outage(clients: Clients) -> None:
    """In an outage a client keeps getting the token that the proxy has, and waits for one that it has not."""
    faults = clients.pod.outside.entra.faults
    clients.check(clients.get("https://warm.test", "curl"), "https://warm.test")
    faults.fail(503)
    clients.check(clients.get("https://warm.test", *clients.retrying, "msal"), "https://warm.test")
    faults.fail(503, times=4 * len(clients.retrying))  # the proxy makes four attempts for one request
    clients.check(clients.get("https://NAME.outage.test", *clients.retrying), "https://NAME.outage.test")


def test_renewed(clients: Clients) -> None:
    """After the proxy has renewed a token, clients get the new one."""
    entra = clients.pod.outside.entra
    entra.token_lifetime = 30
    try:
        (first,) = clients.get("https://renewed.test", "curl").values()
        exchanges = len(entra.exchanges)
        until(lambda: len(entra.exchanges) > exchanges)
        results = clients.get("https://renewed.test", *clients.retrying, "msal")
    finally:
        entra.token_lifetime = 3599
    assert {name: result.error for name, result in results.items() if result.error} == {}
    assert first.token not in {result.token for result in results.values()}
