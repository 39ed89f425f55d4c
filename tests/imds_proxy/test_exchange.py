"""The exchange with Microsoft Entra, healthy and failing, over real TLS."""

import asyncio
import logging
import ssl
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from azure_workload_identity.entra import Kind
from imds_proxy import exchange, trust
from imds_proxy.clock import Clock
from imds_proxy.exchange import Exchange, ExchangeError, read_assertion
from imds_proxy.request import TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.settings import Settings, load, parse
from testbed.entra import Entra, Issuer
from testbed.processes import MAX_WAIT_SECONDS
from testbed.sidecar import CLIENT, RESOURCE, SUBJECT, TENANT, environment
from tests.support.bytes import Serve, answering, listening

ASKED = TokenRequest(CLIENT, RESOURCE)


class Bench:
    """An exchange whose waits take no time but are recorded."""

    def __init__(self, emulator: Entra, token_file: Path, **variables: str) -> None:
        self.emulator = emulator
        self.token_file = token_file
        self.variables = {**environment(emulator, token_file), **variables}
        self.waits: list[float] = []
        self.results: Counter[str] = Counter()
        self.before_next_try: Callable[[], object] = lambda: None
        self.passed: Callable[[], float] = lambda: 0

    def settings(self) -> Settings:
        """Load the settings."""
        return load(parse([], {}), self.variables)

    def clock(self) -> Clock:
        """Make a clock whose sleeping is quick."""
        began = time.time()

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.before_next_try()

        return Clock(monotonic=lambda: began + sum(self.waits) + self.passed(), sleep=sleep, random=lambda: 0.5)

    def run(self, asked: TokenRequest = ASKED) -> AccessToken:
        """Exchange once, with the retries."""
        settings = self.settings()
        system = trust.system(settings.environ)
        trusted = trust.of_token_proxy(settings.token_proxy, system) if settings.token_proxy else system
        exchanged = Exchange(settings, trusted, self.clock(), lambda result, _seconds: self.results.update([result]))
        return asyncio.run(exchanged(asked))

    def failed(self, asked: TokenRequest = ASKED) -> ExchangeError:
        """Exchange without success."""
        with pytest.raises(ExchangeError) as caught:
            self.run(asked)
        return caught.value


@pytest.fixture
def bench(emulator: Entra, issuer: Issuer, tmp_path: Path) -> Bench:
    """Make an exchange with a good token file."""
    token_file = tmp_path / "token"
    token_file.write_text(issuer.token(SUBJECT))
    return Bench(emulator, token_file)


def test_token(bench: Bench) -> None:
    """The projected token is exchanged at the v2 endpoint of the tenant for one of the resource."""
    before = time.time()
    token = bench.run()
    assert bench.emulator.verify(token.secret)["appid"] == CLIENT
    assert bench.emulator.verify(token.secret)["aud"] == RESOURCE
    assert before + 3590 < token.expires <= time.time() + 3600
    (seen,) = bench.emulator.exchanges
    assert (seen.tenant, seen.client_id, seen.scope) == (TENANT, CLIENT, RESOURCE + "/.default")
    assert (bench.waits, bench.results) == ([], Counter({"success": 1}))


def test_slow_answer(bench: Bench) -> None:
    """The lifetime of a token is counted from the request, not from an answer that was long on its way."""
    bench.passed = lambda: 7 * len(bench.emulator.exchanges)
    token = bench.run()
    assert token.expires <= bench.emulator.verify(token.secret)["exp"] + 1
    assert token.requested + 3599 == token.expires


def test_trailing_slash(bench: Bench) -> None:
    """A trailing slash of the resource is in the scope, and so in the token's audience."""
    bench.run(TokenRequest(CLIENT, RESOURCE + "/"))
    assert bench.emulator.exchanges[0].scope == RESOURCE + "//.default"


def test_file_is_read_each_time(bench: Bench, issuer: Issuer) -> None:
    """Every attempt sends the token that the kubelet wrote last."""
    good = bench.token_file.read_text()
    bench.token_file.write_text(issuer.token(SUBJECT, lifetime=-400))
    bench.before_next_try = lambda: bench.token_file.write_text(good)
    assert bench.run().secret
    assert [seen.code for seen in bench.emulator.exchanges] == [700024, 0]


@pytest.mark.parametrize("code", [70021, 700213, 700024])
def test_propagating_credential(bench: Bench, code: int) -> None:
    """A credential that has not propagated yet is waited for."""
    bench.emulator.faults.lag(3, code)
    assert bench.run().secret
    assert bench.waits == [0.75, 1.5, 3.0]
    assert bench.results == Counter({"propagating": 3, "success": 1})


def test_missing_credential(bench: Bench, issuer: Issuer) -> None:
    """The wait is bounded; then the error is a 400, which SDKs do not retry, with the claims of the token."""
    bench.token_file.write_text(issuer.token("system:serviceaccount:shop:other"))
    error = bench.failed()
    assert (error.status, error.error, error.retry_after) == (400, "invalid_client", 0)
    assert "no federated credential has this token's subject" in error.message
    assert f"iss {issuer.url}, sub system:serviceaccount:shop:other, aud api://AzureADTokenExchange" in error.message
    assert "Entra said: AADSTS700213: " in error.message
    assert (len(bench.waits), sum(bench.waits) < 16) == (4, True)


def test_permanent(bench: Bench) -> None:
    """A permanent error is reported at once."""
    error = bench.failed(TokenRequest("00000000-0000-0000-0000-000000000000", RESOURCE))
    assert (error.status, error.kind, bench.waits) == (400, Kind.PERMANENT, [])
    assert "check azure.workload.identity/client-id" in error.message
    assert "AADSTS700016" in error.message


def test_unknown_tenant(bench: Bench) -> None:
    """The error for an unknown tenant names its annotation."""
    bench.variables["AZURE_TENANT_ID"] = "00000000-0000-0000-0000-000000000000"
    error = bench.failed()
    assert (error.status, bench.waits) == (400, [])
    assert "azure.workload.identity/tenant-id" in error.message


@pytest.mark.parametrize("status", [500, 502, 503])
def test_transient_failure(bench: Bench, status: int) -> None:
    """A short failure of Entra is not noticed."""
    bench.emulator.faults.fail(status, times=2)
    assert bench.run().secret
    assert len(bench.waits) == 2


def test_outage(bench: Bench) -> None:
    """A long one becomes 503 with Retry-After, after a few attempts with growing waits."""
    bench.emulator.faults.fail(500)
    error = bench.failed()
    assert (error.status, error.error, error.retry_after) == (503, "server_error", 5)
    assert bench.waits == pytest.approx([0.15, 0.45, 1.35])


def test_throttled(bench: Bench) -> None:
    """A short Retry-After is waited for."""
    bench.emulator.faults.throttle(3, times=1)
    assert bench.run().secret
    assert bench.waits == [3]


def test_throttled_for_long(bench: Bench) -> None:
    """A long one is passed on with 429, without a wait here."""
    bench.emulator.faults.throttle(120)
    error = bench.failed()
    assert (error.status, error.error, error.hold_off, bench.waits) == (429, "too_many_requests", 120, [])
    assert error.retry_after == 20
    assert error.message.endswith("answered 429, too many requests: wait 120 s")


def test_retry_after_that_clients_wait_for(bench: Bench) -> None:
    """The Retry-After of a response is one that SDKs wait for: the one for Go gives up above 25 s."""
    bench.emulator.faults.throttle(300)
    assert bench.failed().retry_after <= 25


def test_slow(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A response that does not arrive is given up, and retried."""
    monkeypatch.setattr(exchange, "ATTEMPT_SECONDS", 0.2)
    bench.emulator.faults.hold()

    def recover() -> None:
        bench.emulator.faults.healthy()
        monkeypatch.setattr(exchange, "ATTEMPT_SECONDS", MAX_WAIT_SECONDS)

    bench.before_next_try = recover
    assert bench.run().secret
    assert len(bench.waits) == 1


@pytest.mark.parametrize("fault", ["garbage", "cut", "huge"])
def test_broken_answer(bench: Bench, fault: str) -> None:
    """Half a document, a broken connection and an endless body are outages like any other."""
    getattr(bench.emulator.faults, fault)(times=1)
    assert bench.run().secret
    assert bench.results == Counter({"outage": 1, "success": 1})
    getattr(bench.emulator.faults, fault)()
    assert bench.failed().status == 503


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{}", '{"access_token": 1, "expires_in": 10}', '{"access_token": "", "expires_in": 10}'),
        *('{"access_token": "a"}', '{"access_token": "a", "expires_in": 0}', '{"access_token": "a", "expires_in": -5}'),
        *('{"access_token": "a\\nb", "expires_in": 9}', '{"access_token": "a", "expires_in": "soon"}', "[" * 10000),
        '{"access_token": "a", "expires_in": true}',
    ],
)
def test_success_without_token(bench: Bench, text: str) -> None:
    """An answer of 200 without a token that can be used is an outage."""
    bench.emulator.faults.garbage(text)
    assert "something other than Microsoft Entra" in bench.failed().message


@pytest.mark.parametrize("seconds", ['"3600"', "3600"])
def test_seconds_as_text(bench: Bench, seconds: str) -> None:
    """Seconds are a number or a string, as Entra has written them over the years."""
    bench.emulator.faults.garbage(f'{{"access_token": "a", "expires_in": {seconds}, "ext_expires_in": "junk"}}')
    token = bench.run()
    assert (token.expires - token.requested, token.extended, token.token_type) == (3600, token.expires, "Bearer")


@pytest.mark.parametrize(
    ("response", "status", "text"),
    [
        (b"HTTP/1.1 429 Slow down\r\nRetry-After: 60 \r\nContent-Length: 6\r\n\r\n<html>", 429, "wait 60 s"),
        (b"HTTP/1.1 429 Slow down\r\nRetry-After: 60\r\nContent-Length: 9999999\r\n\r\nhalf", 429, "wait 60 s"),
        (b'HTTP/1.1 429 x\r\nContent-Length: 25\r\n\r\n{"error_codes": [700016]}', 429, "too many requests"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>", 503, "answered 502, which is an outage"),
        (b'HTTP/1.1 500 x\r\nContent-Length: 25\r\n\r\n{"error_codes": [700016]}', 503, "a failure at Entra"),
        (b"HTTP/1.1 503 x\r\nTransfer-Encoding: chunked\r\n\r\nzz", 503, "answered 503, which is an outage"),
    ],
)
def test_status_before_body(bench: Bench, response: bytes, status: int, text: str) -> None:
    """A 429 is throttling and a 5xx is an outage, whatever the body is or claims, and even if it breaks off."""

    async def run() -> ExchangeError:
        async with listening(answering(response)) as origin:
            bench.variables["AZURE_AUTHORITY_HOST"] = f"http://{origin.netloc}"
            exchange = Exchange(bench.settings(), ssl.create_default_context, bench.clock(), lambda *_: None)
            with pytest.raises(ExchangeError) as caught:
                await exchange(ASKED)
            return caught.value

    error = asyncio.run(run())
    assert error.status == status
    assert text in error.message


def test_something_else_answers(bench: Bench) -> None:
    """A page of another server is not taken for an error of Entra."""

    async def run() -> ExchangeError:
        async with listening(answering(b"HTTP/1.1 403 No\r\nContent-Length: 6\r\n\r\n<html>")) as origin:
            bench.variables["AZURE_AUTHORITY_HOST"] = f"http://{origin.netloc}"
            made = Exchange(bench.settings(), ssl.create_default_context, bench.clock(), lambda *_: None)
            with pytest.raises(ExchangeError) as caught:
                await made(ASKED)
            return caught.value

    error = asyncio.run(run())
    assert (error.status, bench.waits) == (400, [])
    assert "answered 403 and nothing that Microsoft Entra would say: check AZURE_AUTHORITY_HOST" in error.message


def test_wrong_certificate(bench: Bench, tmp_path: Path) -> None:
    """Nothing is sent to an untrusted server, and the error says what to do."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    bench.variables["SSL_CERT_FILE"] = str(other)
    error = bench.failed()
    assert error.status == 503
    assert "is not trusted" in error.message
    assert "SSL_CERT_FILE" in error.message
    assert bench.emulator.exchanges == []


def test_refused_connection(bench: Bench) -> None:
    """A refused connection is an outage."""
    bench.variables["AZURE_AUTHORITY_HOST"] = "https://127.0.0.1:1"
    assert bench.failed().message.startswith("no connection to 127.0.0.1:1: ")


def test_unusable_proxy(bench: Bench) -> None:
    """An unusable HTTP proxy is reported."""
    bench.variables |= {"AZURE_AUTHORITY_HOST": "https://entra.test", "HTTPS_PROXY": "socks5://x"}
    assert "HTTPS_PROXY must be" in bench.failed().message


def test_attempts_end(bench: Bench) -> None:
    """The attempts end when their time is used up."""
    bench.emulator.faults.throttle(15)
    assert bench.failed().status == 429
    assert bench.waits == [15]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read (No such file or directory)"), (b" \n", "is empty"), (b"\xff\xfe", "is not a token")],
)
def test_no_assertion(bench: Bench, content: bytes | None, message: str) -> None:
    """Without the pod's token nothing is sent, and a 400 names the file."""
    bench.token_file.unlink()
    if content is not None:
        bench.token_file.write_bytes(content)
    error = bench.failed()
    assert (error.status, bench.emulator.exchanges) == (400, [])
    assert f"AZURE_FEDERATED_TOKEN_FILE {bench.token_file} {message}" in error.message


def test_huge_assertion(tmp_path: Path) -> None:
    """An oversized token file is not read to its end."""
    (tmp_path / "token").write_bytes(b"a" * 70_000)
    with pytest.raises(ExchangeError, match="is not a token"):
        read_assertion(str(tmp_path / "token"))


def test_token_proxy(bench: Bench, tmp_path: Path) -> None:
    """With identity bindings the exchange goes to the token proxy: its path, its TLS name, its CA."""
    with bench.emulator.token_proxy(tmp_path, "proxy.azwi.test", "/bindings") as url:
        bench.variables |= {
            "AZURE_KUBERNETES_TOKEN_PROXY": url,
            "AZURE_KUBERNETES_SNI_NAME": "proxy.azwi.test",
            "AZURE_KUBERNETES_CA_FILE": str(tmp_path / "ca.crt"),
        }
        assert bench.run().secret
        assert bench.emulator.exchanges[-1].host == url.split("/")[2]
        del bench.variables["AZURE_KUBERNETES_CA_FILE"]
        assert "is not trusted" in bench.failed().message
        bench.variables["AZURE_KUBERNETES_CA_DATA"] = (tmp_path / "ca.crt").read_text()
        assert bench.run().secret


def test_token_proxy_with_two_tokens(bench: Bench, issuer: Issuer, tmp_path: Path) -> None:
    """In a pod with a second token the proxy sends the first one to the token proxy, as the SDKs do."""
    second = tmp_path / "second"
    second.write_text(issuer.token(SUBJECT, "api://other"))
    with bench.emulator.token_proxy(tmp_path, "proxy.azwi.test") as url:
        bench.variables |= {
            "AZURE_SECOND_FEDERATED_TOKEN_FILE": str(second),
            "AZURE_KUBERNETES_TOKEN_PROXY": url,
            "AZURE_KUBERNETES_SNI_NAME": "proxy.azwi.test",
            "AZURE_KUBERNETES_CA_FILE": str(tmp_path / "ca.crt"),
        }
        assert bench.run().secret
    assert bench.emulator.exchanges[-1].assertion == bench.token_file.read_text()


def tunnel(port: int) -> Serve:
    """Make an HTTP proxy whose every tunnel ends at a port of this machine."""

    async def relay(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                sink.write(data)
        finally:
            sink.transport.abort()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT entra.azwi.test:443 HTTP/1.1\r\n")
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back, forth = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(relay(reader, forth), relay(back, writer), return_exceptions=True)

    return serve


def test_http_proxy(bench: Bench, tmp_path: Path) -> None:
    """Through HTTPS_PROXY Entra is reached by a name that only the proxy can resolve, with TLS end to end."""

    async def run(port: int) -> AccessToken:
        async with listening(tunnel(port)) as proxy:
            bench.variables["HTTPS_PROXY"] = f"http://{proxy.netloc}"
            settings = bench.settings()
            trusted = trust.system(settings.environ)
            return await Exchange(settings, trusted, bench.clock(), lambda *_: None)(ASKED)

    with bench.emulator.token_proxy(tmp_path, "entra.azwi.test") as url:
        bench.variables |= {
            "AZURE_AUTHORITY_HOST": "https://entra.azwi.test",
            "SSL_CERT_FILE": str(tmp_path / "ca.crt"),
        }
        token = asyncio.run(run(int(url.rpartition(":")[2])))
    assert bench.emulator.verify(token.secret)["appid"] == CLIENT


def test_secrets_stay_out_of_logs(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the assertion nor a token is in a log line or an error, even when Entra repeats it."""
    assertion = bench.token_file.read_text()
    with caplog.at_level(logging.DEBUG):
        token = bench.run()
        bench.emulator.faults.garbage(f'{{"error": "invalid_client", "error_description": "{assertion}"}}')
        message = bench.failed().message
    message = caplog.text + message
    assert "a token for https://vault.azure.net" in message
    assert assertion not in message
    assert token.secret not in message
