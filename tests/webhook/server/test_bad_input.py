"""What the real server answers, over TLS, to input that no API server would send."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest

from azure_workload_identity.types import JsonObject
from testbed.processes import MAX_WAIT_SECONDS, child, until
from testbed.program import Program, review
from webhook.server import bounded_protocol

GOOD: Final[JsonObject] = {
    "metadata": {"name": "app", "labels": {"azure.workload.identity/use": "true"}},
    "spec": {"serviceAccountName": "quickstart", "containers": [{"name": "app"}]},
}
MIB: Final = 1 << 20


@pytest.fixture(autouse=True)
def _serves_on(program: Program) -> Any:  # noqa: ANN401  a generator fixture
    """Whatever a test sent, the next good request is answered, and the log has no internal error."""
    yield
    response = program.admit(GOOD)
    assert response["allowed"] is True
    assert response["patch"]
    assert not [line for line in program.lines() if "error" in line]


def changed(**request: object) -> bytes:
    """Write a review with other members in its request; None takes one out."""
    body = review(GOOD)
    body["request"] |= request
    body["request"] = {key: value for key, value in body["request"].items() if value is not None}
    return json.dumps(body).encode()


BROKEN: Final = {
    "empty body": b"",
    "not JSON": b"{",
    "YAML": b"kind: AdmissionReview",
    "invalid UTF-8": b'{"kind": "\xff\xfe"}',
    "UTF-16": json.dumps(review(GOOD)).encode("utf-16"),
    "a raw NUL": b'{"kind": "a\x00b"}',
    "NaN": b'{"kind": NaN}',
    "a bare string": b'"AdmissionReview"',
    "a list": b"[]",
    "nothing but braces": b"{}",
    "two documents": b"{}{}",
    "nested 100,000 deep": b"[" * 100_000 + b"]" * 100_000,
    "another kind": json.dumps({**review(GOOD), "kind": "Pod"}).encode(),
    "no kind": json.dumps({"request": {}}).encode(),
    "another version": json.dumps({**review(GOOD), "apiVersion": "admission.k8s.io/v2"}).encode(),
    "a map for a kind": json.dumps({**review(GOOD), "kind": {}}).encode(),
    "no request": json.dumps({**review(GOOD), "request": None}).encode(),
    "a list for a request": json.dumps({**review(GOOD), "request": []}).encode(),
    "no uid": changed(uid=None),
    "an empty uid": changed(uid=""),
    "a number for a uid": changed(uid=7),
    "a very long uid": changed(uid="u" * 4096),
    "no namespace": changed(namespace=None),
    "a path for a namespace": changed(namespace="../../secrets"),
    "a long namespace of another resource": changed(namespace="n" * 8_000_000, resource={"resource": "configmaps"}),
    "a nested namespace of another resource": changed(
        namespace=json.loads("[" * 900 + "]" * 900), resource={"resource": "configmaps"}
    ),
    "150,000 lists where labels belong": json.dumps(review({"metadata": {"labels": "LISTS"}, "spec": {}}))
    .encode()
    .replace(b'"LISTS"', b"[" + b"[]," * 150_000 + b"[]]"),
    "no operation": changed(operation=None),
    "no resource": changed(resource=None),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_review(program: Program, name: str) -> None:
    """A body that is not an AdmissionReview gets a 400 with what is wrong."""
    status, body = program.send(BROKEN[name])
    assert status == http.client.BAD_REQUEST
    assert body.startswith(b"azure-workload-identity: ")
    assert b"Traceback" not in body


def spec(**fields: object) -> JsonObject:
    """Write the good pod with other fields in its spec."""
    return {**GOOD, "spec": {**GOOD["spec"], **fields}}


def metadata(**fields: object) -> JsonObject:
    """Write the good pod with other fields in its metadata."""
    return {**GOOD, "metadata": {**GOOD["metadata"], **fields}}


REFUSED: Final[dict[str, object]] = {
    "a null object": None,
    "a string for an object": "pod",
    "an empty object": {},
    "a null spec": {"spec": None},
    "a list for a spec": {"spec": []},
    "a map for containers": spec(containers={"name": "app"}),
    "a string among containers": spec(containers=["app"]),
    "a container without a name": spec(containers=[{}]),
    "a number for a name": spec(containers=[{"name": 7}]),
    "a map for env": spec(containers=[{"name": "app", "env": {"A": "b"}}]),
    "a string among env": spec(containers=[{"name": "app", "env": ["A=b"]}]),
    "a string for mounts": spec(containers=[{"name": "app", "volumeMounts": "x"}]),
    "a string for volumes": spec(volumes="x"),
    "a number for an annotation": metadata(annotations={"azure.workload.identity/proxy-sidecar-port": 8000}),
    "a list for labels": metadata(labels=["azure.workload.identity/use"]),
    "a map for a label": metadata(labels={"azure.workload.identity/use": {"true": True}}),
    "a string for hostNetwork": spec(hostNetwork="true"),
    "a path for an account": spec(serviceAccountName="../../secrets/token"),
    "a number for an account": spec(serviceAccountName=7),
    "a name of 3 MB": metadata(name="n" * 3 * MIB),
    "an account that does not exist": spec(serviceAccountName="missing"),
    "thousands of containers": spec(containers=[{"name": f"c{n}"} for n in range(20_000)]),
    "deep nesting where a list belongs": spec(containers=json.loads("[" * 500 + "]" * 500)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_pod(program: Program, name: str) -> None:
    """A pod that is not one is refused inside a valid response, with the review's uid and a reason."""
    response = program.admit(REFUSED[name])
    assert response["uid"] == review(GOOD)["request"]["uid"]
    assert response["allowed"] is False
    assert "patch" not in response
    assert response["auditAnnotations"]["decision"] == "refuse"
    assert response["auditAnnotations"]["reason"] in response["status"]["message"]
    assert len(response["status"]["message"]) < 400


def test_deep_fields_are_left_alone(program: Program) -> None:
    """Deep nesting in a field that admission does not read does not stop the pod."""
    response = program.admit(spec(tolerations=json.loads('{"a":' * 400 + "1" + "}" * 400)))
    assert response["allowed"] is True


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "HEAD"])
def test_other_methods(program: Program, method: str) -> None:
    """Only POST is answered."""
    status, _ = program.send(json.dumps(review(GOOD)).encode(), method=method)
    assert status == http.client.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("path", ["/", "/mutate-v1-pod/", "/mutate-v1-pods", "/docs", "/openapi.json"])
def test_other_paths(program: Program, path: str) -> None:
    """There is nothing but the webhook's own paths."""
    status, _ = program.send(b"{}", path=path)
    assert status == http.client.NOT_FOUND


@pytest.mark.parametrize("media_type", ["text/plain", "application/yaml", "application/jsonp", ""])
def test_wrong_content_type(program: Program, media_type: str) -> None:
    """A body that is not called JSON is not read."""
    status, body = program.send(json.dumps(review(GOOD)).encode(), {"Content-Type": media_type})
    assert (status, b"application/json" in body) == (http.client.UNSUPPORTED_MEDIA_TYPE, True)


def test_content_type_with_parameters(program: Program) -> None:
    """Parameters of the content type do no harm."""
    status, _ = program.send(json.dumps(review(GOOD)).encode(), {"Content-Type": "Application/JSON; charset=utf-8"})
    assert status == http.client.OK


def test_three_megabytes(program: Program) -> None:
    """A pod as large as the API server would ever send is mutated."""
    response = program.admit(spec(containers=[{"name": "app", "env": [{"name": "NOTE", "value": "x" * 3 * MIB}]}]))
    assert response["allowed"] is True
    assert response["patch"]


def test_millions_of_values(program: Program) -> None:
    """A body with more values than a pod can have gets a 413 before they are decoded."""
    pod = {**GOOD, "metadata": {"annotations": {"example.com/note": "," * 1_000_000}}}
    status, body = program.send(json.dumps(review(pod)).encode())
    assert (status, b"200,000 values" in body) == (http.client.REQUEST_ENTITY_TOO_LARGE, True)


def test_failures_are_counted_and_not_each_logged(program: Program) -> None:
    """Of many broken requests some are logged, with the number of those that are not; all are counted."""
    connection = program.connect()
    for _ in range(200):
        connection.request("POST", "/mutate-v1-pod", b"{}", {"Content-Type": "application/json"})
        assert connection.getresponse().read()
    connection.close()
    logged = [line for line in program.lines() if line.get("reason") == "broken-review"]
    counted = [
        line
        for line in program.get(program.metrics, "/metrics")[1].splitlines()
        if line.startswith('azwi_admissions_total{decision="error",reason="broken-review"}')
    ]
    assert float(counted[0].split()[1]) >= 200
    assert len(logged) < float(counted[0].split()[1]) / 1.5


def test_nine_megabytes(program: Program) -> None:
    """A body above the limit gets a 413 before it is read."""
    status, body = program.send(b" " * (9 * MIB))
    assert (status, b"8 MiB" in body) == (http.client.REQUEST_ENTITY_TOO_LARGE, True)


def test_nine_megabytes_without_a_length(program: Program) -> None:
    """A body above the limit without a Content-Length gets a 413 too."""
    connection = program.connect()
    connection.putrequest("POST", "/mutate-v1-pod")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    try:
        for _ in range(9):
            connection.send(b"100000\r\n" + b" " * MIB + b"\r\n")
        connection.send(b"0\r\n\r\n")
    except ConnectionError:
        pass  # it may answer and close before it has read everything
    status = connection.getresponse().status
    connection.close()
    assert status == http.client.REQUEST_ENTITY_TOO_LARGE


def test_many_large_bodies(program: Program) -> None:
    """More large bodies at once than there is room for: some are sent away, memory stays bounded, and none is stuck."""
    body = b'{"kind": "' + b"x" * 6 * MIB + b'"}'
    everybody = threading.Barrier(32, timeout=MAX_WAIT_SECONDS)
    with ThreadPoolExecutor(32) as pool:
        statuses = set(pool.map(lambda _: slowly(program, body, everybody), range(32)))
    # On a machine that takes seconds for so much, some are sent away for that.
    sent_away = {http.client.INTERNAL_SERVER_ERROR, http.client.REQUEST_TIMEOUT}
    assert statuses <= {http.client.BAD_REQUEST, *sent_away}
    assert statuses & sent_away
    memory = Path(f"/proc/{child(program.process.pid)}/status").read_text()
    peak = next(int(line.split()[1]) for line in memory.splitlines() if line.startswith("VmHWM"))
    assert peak < 300 * 1024


def slowly(program: Program, body: bytes, everybody: threading.Barrier) -> int:
    """Send all of a body but its end, wait for the others, send the end."""
    connection = program.connect()
    connection.putrequest("POST", "/mutate-v1-pod")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders()
    # It answers and closes before it has read everything.
    with suppress(OSError):
        connection.send(body[:-1])
    everybody.wait()
    with suppress(OSError):
        connection.send(body[-1:])
    try:
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return http.client.INTERNAL_SERVER_ERROR
    finally:
        connection.close()


def test_responses_that_nobody_reads(program: Program) -> None:
    """Large responses that nobody reads are bounded together, also over TLS: the oldest is cut."""
    containers = [{"name": f"c{number}"} for number in range(3_000)]
    body = json.dumps(review(spec(containers=containers))).encode()
    cut = 'azwi_connections_closed_total{port="webhook",reason="too-much-unread"}'
    with ExitStack() as stack:
        for _ in range(10):
            connection = stack.enter_context(closing(program.connect()))
            connection.request("POST", "/mutate-v1-pod", body, {"Content-Type": "application/json"})
        until(lambda: cut in program.get(program.metrics, "/metrics")[1])


def test_head_without_an_end(program: Program) -> None:
    """A head of more than 64 KiB ends the connection, long before its time is over."""
    head = b"POST /mutate-v1-pod HTTP/1.1\r\nx-filler: " + b"x" * 2 * bounded_protocol.MAX_HEAD
    with socket.create_connection(("127.0.0.1", program.port), MAX_WAIT_SECONDS) as plain:
        secure = program.context().wrap_socket(plain, server_hostname="127.0.0.1")
        start = time.monotonic()
        with secure, suppress(OSError):
            secure.sendall(head)
            assert secure.recv(1) == b""
    assert time.monotonic() - start < bounded_protocol.HEAD_SECONDS


def test_missing_accounts_in_bulk(program: Program) -> None:
    """Pods without an account are refused, and however many there are, a good one is not delayed."""
    enough = threading.Event()

    def refused(client: int) -> set[str]:
        reasons = set()
        for number in count():
            body = json.dumps(review(spec(serviceAccountName=f"missing-{client}-{number}"))).encode()
            reasons.add(json.loads(program.send(body)[1])["response"]["auditAnnotations"]["reason"])
            if enough.is_set():
                break
        return reasons

    with ThreadPoolExecutor(16) as pool:
        reasons = [pool.submit(refused, client) for client in range(16)]
        try:
            for _ in range(10):
                assert program.admit(GOOD)["allowed"] is True
        finally:
            enough.set()
        assert set().union(*(result.result() for result in reasons)) == {"service-account-not-found"}
