"""The shutdown of a server."""

import http.client
import json
import signal
import time
from pathlib import Path

import pytest

from azure_workload_identity import names
from testbed.pods import pod
from testbed.processes import MAX_WAIT_SECONDS, free_ports, until
from testbed.program import JSON, Program, failed, listens, review, started

LONG = "--drain-period=5m"
POD = pod(serviceAccountName="quickstart")


def admitted(connection: http.client.HTTPSConnection) -> http.client.HTTPResponse:
    """Send a review over a connection that stays open."""
    connection.request("POST", names.MUTATE_PATH, json.dumps(review(POD)).encode(), dict(JSON))
    answer = connection.getresponse()
    answer.read()
    return answer


def test_drain(tmp_path: Path) -> None:
    """After SIGTERM the server is not ready, and answers new and old connections for the drain period."""
    with started(tmp_path, LONG) as program:
        kept = program.connect()
        assert admitted(kept).getheader("connection") is None
        program.process.send_signal(signal.SIGTERM)
        wait_until_draining(program)
        assert program.get(program.health, "/readyz") == (503, "not ready: the server is stopping")
        assert program.get(program.health, "/healthz") == (200, "ok")
        assert program.admit(POD)["allowed"] is True
        assert admitted(kept).getheader("connection") == "close"
        kept.close()


def test_end_of_drain(tmp_path: Path) -> None:
    """When the drain period is over, and no sooner, the server ends with 0."""
    with started(tmp_path, "--drain-period=1s") as program:
        start = time.monotonic()
        assert program.stop(signal.SIGTERM) == 0
        assert time.monotonic() - start >= 1


def wait_until_draining(program: Program) -> None:
    """Wait until the signal has been handled."""
    until(lambda: program.get(program.health, "/readyz")[0] != 200)


def test_second_signal(tmp_path: Path) -> None:
    """A second signal ends the server at once."""
    with started(tmp_path, LONG) as program:
        program.process.send_signal(signal.SIGTERM)
        wait_until_draining(program)
        assert program.stop(signal.SIGTERM) == 0


def test_interrupt_does_not_drain(tmp_path: Path) -> None:
    """Ctrl-C ends the server without a drain: the person at the terminal has no endpoints to update."""
    with started(tmp_path, LONG) as program:
        assert program.stop(signal.SIGINT) == 0


def test_open_requests_are_finished(tmp_path: Path) -> None:
    """A request whose body is still on its way when the drain ends is answered."""
    body = json.dumps(review(POD)).encode()
    with started(tmp_path, "--drain-period=0s") as program:
        connection = program.connect()
        connection.putrequest("POST", names.MUTATE_PATH)
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.putheader("Expect", "100-continue")
        connection.endheaders()
        assert connection.sock.recv(100).startswith(b"HTTP/1.1 100 ")
        program.process.send_signal(signal.SIGTERM)
        until(lambda: not listens(program.port))
        connection.send(body)
        assert connection.getresponse().status == 200
        connection.close()
        assert program.process.wait(MAX_WAIT_SECONDS) == 0


@pytest.mark.parametrize("cause", ["wrong tenant", "wrong cloud", "port in use", "flag pair", "kubeconfig"])
def test_start_that_fails(tmp_path: Path, cause: str) -> None:
    """A start that cannot succeed prints one sentence with what to do, and exits with status 2."""
    port = free_ports(1)[0]
    flags = {
        "wrong tenant": ([], {"AZURE_TENANT_ID": "mine!"}, "AZURE_TENANT_ID 'mine!' must be the tenant's UUID"),
        "wrong cloud": ([], {"AZURE_ENVIRONMENT": "AzureMoonCloud"}, "AZURE_ENVIRONMENT 'AzureMoonCloud' must be"),
        "port in use": ([f"--health-addr=127.0.0.1:{port}", f"--metrics-addr=127.0.0.1:{port}"], {}, "is in use"),
        "flag pair": (["--identity-mapping=a", "--identity-mapping-configmap=b"], {}, "set one of them"),
        "kubeconfig": (["--kubeconfig=/nowhere"], {}, "no usable cluster configuration in /nowhere"),
    }
    arguments, environment, message = flags[cause]
    local = [] if cause in {"flag pair", "kubeconfig"} else [f"--service-accounts={tmp_path}"]
    status, output = failed(*local, *arguments, **environment)
    assert (status, len(output.splitlines())) == (2, 1), output
    assert message in output
