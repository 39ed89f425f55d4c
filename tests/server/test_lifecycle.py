"""The end of a server."""

import http.client
import json
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.support.pods import pod
from tests.support.processes import free_ports
from tests.support.program import JSON, Program, failed, review, started
from webhook import names

DRAIN = "--drain-period=2s"
POD = pod(serviceAccountName="quickstart")


def admitted(connection: http.client.HTTPSConnection) -> http.client.HTTPResponse:
    """Have a pod admitted over a connection that is kept open."""
    connection.request("POST", names.MUTATE_PATH, json.dumps(review(POD)).encode(), dict(JSON))
    answer = connection.getresponse()
    answer.read()
    return answer


def test_drain(tmp_path: Path) -> None:
    """After SIGTERM the server is not ready, answers new and old connections for the drain period, and ends with 0."""
    with started(tmp_path, DRAIN) as program:
        kept = program.connect()
        assert admitted(kept).getheader("connection") is None
        begun = time.monotonic()
        program.process.send_signal(signal.SIGTERM)
        wait_until_draining(program)
        assert program.get(program.health, "/readyz") == (503, "not ready: the server is stopping")
        assert program.get(program.health, "/healthz") == (200, "ok")
        assert program.admit(POD)["allowed"] is True
        assert admitted(kept).getheader("connection") == "close"
        kept.close()
        assert program.process.wait(10) == 0
        assert time.monotonic() - begun >= 2


def wait_until_draining(program: Program) -> None:
    """Wait until the signal has been heard."""
    deadline = time.monotonic() + 2
    while program.get(program.health, "/readyz")[0] == 200 and time.monotonic() < deadline:
        time.sleep(0.01)


def test_second_signal(tmp_path: Path) -> None:
    """A second signal ends the server at once."""
    with started(tmp_path, "--drain-period=60s") as program:
        program.process.send_signal(signal.SIGTERM)
        wait_until_draining(program)
        begun = time.monotonic()
        assert program.stop(signal.SIGTERM) == 0
        assert time.monotonic() - begun < 5


def test_interrupt_does_not_drain(tmp_path: Path) -> None:
    """Ctrl-C ends the server without a drain: whoever presses it waits for nobody's endpoints."""
    with started(tmp_path, "--drain-period=60s") as program:
        begun = time.monotonic()
        assert program.stop(signal.SIGINT) == 0
        assert time.monotonic() - begun < 5


def test_open_requests_are_finished(tmp_path: Path) -> None:
    """A request whose body is still on its way when the drain ends is answered."""
    body = json.dumps(review(POD)).encode()
    answers: list[int] = []
    with started(tmp_path, "--drain-period=0s") as program:
        connection = program.connect()
        connection.putrequest("POST", names.MUTATE_PATH)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:100])
        time.sleep(0.2)

        def finish() -> None:
            time.sleep(0.5)
            connection.send(body[100:])
            answers.append(connection.getresponse().status)

        finishing = threading.Thread(target=finish)
        finishing.start()
        assert program.stop(signal.SIGTERM) == 0
        finishing.join()
        connection.close()
    assert answers == [200]


@pytest.mark.parametrize("cause", ["wrong tenant", "wrong cloud", "port in use", "flag pair", "kubeconfig"])
def test_start_that_fails(tmp_path: Path, cause: str) -> None:
    """A start that cannot succeed says in one sentence what to do, and ends with status 2."""
    port = free_ports(1)[0]
    flags = {
        "wrong tenant": ([], {"AZURE_TENANT_ID": "mine!"}, "AZURE_TENANT_ID 'mine!' must be the tenant's UUID"),
        "wrong cloud": ([], {"AZURE_ENVIRONMENT": "AzureMoonCloud"}, "AZURE_ENVIRONMENT 'AzureMoonCloud' must be"),
        "port in use": ([f"--health-addr=127.0.0.1:{port}", f"--metrics-addr=127.0.0.1:{port}"], {}, "is in use"),
        "flag pair": (["--identity-mapping=a", "--identity-mapping-configmap=b"], {}, "set one of them"),
        "kubeconfig": (["--kubeconfig=/nowhere"], {}, "no usable cluster configuration in /nowhere"),
    }
    arguments, environment, said = flags[cause]
    local = [] if cause in {"flag pair", "kubeconfig"} else [f"--service-accounts={tmp_path}"]
    status, output = failed(*local, *arguments, **environment)
    assert (status, len(output.splitlines())) == (2, 1), output
    assert said in output
