"""The failures that a test can switch on."""

import ssl
import time
from pathlib import Path

import httpx
import pytest

from testbed.entra import Entra
from testbed.entra.faults import MEBIBYTE
from tests.testbed.entra.client import Client, refusal


def test_slow(client: Client) -> None:
    """A slow response is right, but late."""
    client.entra.faults.slow(0.3)
    start = time.monotonic()
    assert client.ask().status_code == 200
    assert time.monotonic() - start > 0.3


def test_throttle(client: Client) -> None:
    """Throttling sends Retry-After, for the given number of times."""
    client.entra.faults.throttle(7, times=1)
    answer = client.ask()
    assert (answer.status_code, answer.headers["retry-after"], answer.text) == (429, "7", "Too Many Requests")
    assert client.entra.exchanges[-1].status == 429
    assert client.ask().status_code == 200


@pytest.mark.parametrize(("status", "error"), [(500, "server_error"), (503, "temporarily_unavailable")])
def test_fail(client: Client, status: int, error: str) -> None:
    """A failure lasts until `healthy`."""
    client.entra.faults.fail(status)
    assert [refusal(client.ask())[:2] for _ in range(3)] == [(status, error)] * 3
    client.entra.faults.healthy()
    assert client.ask().status_code == 200


@pytest.mark.parametrize("code", [70021, 70025, 700213, 700024])
def test_lag(client: Client, code: int) -> None:
    """With a lag, a credential is unknown in the first exchanges with it."""
    client.entra.faults.lag(2, code)
    assert [refusal(client.ask())[2] for _ in range(2)] == [code, code]
    assert client.ask().status_code == 200


def test_garbage(client: Client) -> None:
    """Its garbage is half a JSON document with status 200."""
    client.entra.faults.garbage()
    answer = client.ask()
    assert answer.status_code == 200
    with pytest.raises(ValueError, match="Unterminated"):
        answer.json()


def test_huge(client: Client) -> None:
    """The huge response has the given number of mebibytes."""
    client.entra.faults.huge(3)
    assert len(client.ask().content) > 3 * MEBIBYTE


def test_cut(client: Client) -> None:
    """Cut, the connection ends in the middle of the answer."""
    client.entra.faults.cut(times=1)
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        client.ask()
    assert client.ask().status_code == 200


def test_token_proxy(client: Client, running: Entra, tmp_path: Path) -> None:
    """As the token proxy of identity bindings it accepts the same requests below its path, by its TLS name."""
    with running.token_proxy(tmp_path, "proxy.azwi.test", "/bindings") as url:
        context = ssl.create_default_context(cafile=tmp_path / "ca.crt")

        def ask(server_name: str) -> httpx.Response:
            with httpx.Client(verify=context, trust_env=False) as http:
                address = f"{url}/{client.tenant}/oauth2/v2.0/token"
                return http.post(address, data=client.form(), extensions={"sni_hostname": server_name})

        token = ask("proxy.azwi.test").json()["access_token"]
        with pytest.raises(httpx.ConnectError):
            ask("other.azwi.test")

    assert running.verify(token)["appid"] == client.client_id
    assert running.exchanges[-1].host == url.split("/")[2]
