"""The program as it runs in a pod, against Microsoft Entra's emulator over TLS."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from testbed.entra import Entra, Issuer
from testbed.processes import MAX_WAIT_SECONDS, until
from testbed.program import ROOT
from testbed.sidecar import CLIENT, PROGRAM, RESOURCE, SUBJECT, TOKEN_PATH, Sidecar, sidecar


def ran(*arguments: str, **environment: str) -> tuple[int, str]:
    """Run the program to its end; returns its status and output."""
    done = subprocess.run(
        [*PROGRAM, *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=MAX_WAIT_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_token(shared: Sidecar, emulator: Entra) -> None:
    """A request like an SDK's gets a token that Entra issued for the pod's identity."""
    before = time.time()
    reply = shared.token()
    after = time.time()
    answer, again = reply.json, shared.get(f"{TOKEN_PATH}?resource={RESOURCE}", host="::1").json
    claims = emulator.verify(answer["access_token"])
    assert (reply.status, claims["appid"], claims["aud"]) == (200, CLIENT, RESOURCE)
    assert answer["token_type"] == "Bearer"
    assert 3000 < int(answer["expires_in"]) <= 3600
    assert before - 1 <= int(answer["expires_on"]) - int(answer["expires_in"]) <= after + 1
    assert all(isinstance(value, str) for value in answer.values())
    assert answer.keys() == again.keys()
    assert {name for name in answer if answer[name] != again[name]} <= {"expires_in", "ext_expires_in"}


def test_many_at_once(shared: Sidecar, emulator: Entra) -> None:
    """Five hundred cold requests at once make one exchange."""
    emulator.faults.slow(0.3)
    target = f"{TOKEN_PATH}?resource=https://cold.azwi.test"
    request = f"GET {target} HTTP/1.1\r\nHost: localhost\r\nMetadata: true\r\nConnection: close\r\n\r\n".encode()

    async def one() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", shared.port)
        writer.write(request)
        answer = await reader.read()
        writer.close()
        return answer

    async def run() -> list[bytes]:
        return await asyncio.gather(*(one() for _ in range(500)))

    answers = asyncio.run(run())
    assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"HTTP/1.1 200 OK"}
    assert len({json.loads(answer.partition(b"\r\n\r\n")[2])["access_token"] for answer in answers}) == 1
    assert [seen.scope for seen in emulator.exchanges].count("https://cold.azwi.test/.default") == 1


def test_entra_down(shared: Sidecar, emulator: Entra) -> None:
    """While Entra is down, a cached token is served; any other request gets 503 with Retry-After."""
    assert shared.token().status == 200
    emulator.faults.fail(503)
    assert shared.token().status == 200
    reply = shared.token("https://down.azwi.test")
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert "AADSTS90033" in reply.json["error_description"]


def test_wrong_token_file(tmp_path: Path, running_entra: Entra, issuer: Issuer) -> None:
    """A missing and an empty token file are reported, and a good one works without a restart."""
    with sidecar(tmp_path, running_entra, issuer) as own:
        own.token_file.unlink()
        missing = own.token("https://missing.test")
        own.token_file.write_text("")
        empty = own.token("https://empty.test")
        own.token_file.write_text(issuer.token(SUBJECT))
        right = own.token("https://right.test")
        assert (missing.status, empty.status, right.status) == (400, 400, 200)
        assert "No such file or directory" in missing.json["error_description"]
        assert "is empty" in empty.json["error_description"]


def test_log(shared: Sidecar) -> None:
    """Each request is one line of JSON with its parameters and result, without any secret."""
    token = shared.token("https://logged.azwi.test").json["access_token"]
    shared.token("https://logged.azwi.test\r\nx")
    line = next(line for line in reversed(shared.lines()) if line.get("resource") == "https://logged.azwi.test")
    assert line.pop("milliseconds") > 0
    assert line.pop("timestamp")
    assert line == {
        "level": "info",
        "logger": "proxy",
        "message": "request",
        "path": "token",
        "status": 200,
        "method": "GET",
        "clientId": CLIENT,
        "resource": "https://logged.azwi.test",
    }
    text = shared.log.read_text()
    assert token not in text
    assert shared.token_file.read_text() not in text


def test_metrics(shared: Sidecar) -> None:
    """Requests and exchanges are counted."""
    before = shared.metric('azwi_proxy_requests_total{path="refused",status="400"}') if refused(shared) else 0
    refused(shared)
    assert shared.metric('azwi_proxy_requests_total{path="refused",status="400"}') == before + 1
    shared.token()
    assert shared.metric('azwi_proxy_exchanges_total{result="success"}') >= 1
    assert shared.metric("azwi_proxy_tokens") >= 1


def refused(shared: Sidecar) -> bool:
    """Send a probe of an SDK, which has no header; whether it is refused."""
    return shared.get(f"{TOKEN_PATH}?resource={RESOURCE}", headers={}).status == 400


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop(tmp_path: Path, running_entra: Entra, issuer: Issuer, number: signal.Signals) -> None:
    """A signal ends it with status 0, after the request that is under way."""
    with sidecar(tmp_path, running_entra, issuer) as own:
        own.token()
        asked = running_entra.faults.hold()
        with socket.create_connection(("127.0.0.1", own.port)) as connection:
            connection.sendall(f"GET {TOKEN_PATH}?resource=https://x.test HTTP/1.1\r\nMetadata: true\r\n\r\n".encode())
            assert asked.wait(MAX_WAIT_SECONDS)
            own.process.send_signal(number)
            until(lambda: "stopping" in own.log.read_text())
            running_entra.faults.healthy()
            answer = connection.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert own.process.wait(MAX_WAIT_SECONDS) == 0


def test_second_signal(tmp_path: Path, running_entra: Entra, issuer: Issuer) -> None:
    """A second signal ends it at once."""
    with sidecar(tmp_path, running_entra, issuer) as own:
        asked = running_entra.faults.hold()
        with socket.create_connection(("127.0.0.1", own.port)) as connection:
            connection.sendall(f"GET {TOKEN_PATH}?resource=https://x.test HTTP/1.1\r\nMetadata: true\r\n\r\n".encode())
            assert asked.wait(MAX_WAIT_SECONDS)
            own.process.send_signal(signal.SIGTERM)
            until(lambda: "stopping" in own.log.read_text())
            own.process.send_signal(signal.SIGTERM)
            assert own.process.wait(MAX_WAIT_SECONDS) == -signal.SIGTERM
        running_entra.faults.healthy()


@pytest.mark.parametrize("command", [["--probe"], ["probe"]])
def test_probe(shared: Sidecar, command: list[str]) -> None:
    """The webhook's probe command, and the sub-command, see that it is ready."""
    assert ran(*command, f"--proxy-port={shared.port}", "--log-level=info") == (0, "")


def test_module(shared: Sidecar) -> None:
    """`python -m imds_proxy` is the same program."""
    command = [sys.executable, "-m", "imds_proxy", "probe", f"--proxy-port={shared.port}"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def test_version() -> None:
    """--version prints the same line as the webhook's."""
    status, text = ran("--version")
    assert (status, len(json.loads(text))) == (0, 5)


def test_help() -> None:
    """--help names the flags, the commands and the variables."""
    status, text = ran("--help")
    assert status == 0
    for word in ("--proxy-port", "--pass-through", "azwi-proxy init", "AZURE_TENANT_ID", "HTTPS_PROXY"):
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["--proxy-port=x"], {}, "azwi-proxy: --proxy-port 'x' is not a port from 1 to 65535\n"),
        (["--oops"], {}, "azwi-proxy: unrecognized arguments: --oops; see azwi-proxy --help\n"),
        ([], {}, "azwi-proxy: AZURE_TENANT_ID not set: the webhook injects it into a container that takes part\n"),
        (
            [],
            {"AZURE_TENANT_ID": "t", "SSL_CERT_FILE": "/nowhere"},
            "azwi-proxy: SSL_CERT_FILE /nowhere: No such file or directory\n",
        ),
    ],
)
def test_bad_start(arguments: list[str], environment: dict[str, str], message: str) -> None:
    """The reason for not starting is printed in one line, with status 2."""
    assert ran(*arguments, **environment) == (2, message)


def test_port_in_use(shared: Sidecar) -> None:
    """A port in use is named."""
    status, text = ran(f"--proxy-port={shared.port}", AZURE_TENANT_ID="t")
    assert (status, f"port {shared.port} of localhost" in text, "choose another port" in text) == (2, True, True)
    assert f"another process listens on {shared.port};" in text
    assert "azure.workload.identity/proxy-sidecar-port" in text


def test_pass_through_without_imds(tmp_path: Path, running_entra: Entra, issuer: Issuer) -> None:
    """An allowed path is forwarded to the real address; identity paths never are."""
    with sidecar(tmp_path, running_entra, issuer, "--pass-through=/metadata/instance") as own:
        assert own.get("/metadata/identity/info").status == 404
        assert own.get("/metadata/versions").status == 404


def test_another_clients_token(shared: Sidecar, emulator: Entra) -> None:
    """A client id that the pod's account may not use is refused at once, with Entra's reason."""
    reply = shared.token(client_id="00000000-0000-0000-0000-000000000000")
    assert (reply.status, "AADSTS700016" in reply.json["error_description"]) == (400, True)
    assert [seen.client_id for seen in emulator.exchanges] == ["00000000-0000-0000-0000-000000000000"]


def test_busy_port_is_given_back(tmp_path: Path, running_entra: Entra, issuer: Issuer) -> None:
    """After a stop the port can be had again at once."""
    with sidecar(tmp_path, running_entra, issuer) as own:
        own.token()
        own.process.terminate()
        assert own.process.wait(MAX_WAIT_SECONDS) == 0
        socket.create_server(("127.0.0.1", own.port)).close()
