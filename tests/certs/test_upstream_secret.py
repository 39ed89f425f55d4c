"""The Secret of v1.6.0, with an API server that answers as scripted."""

import asyncio
import json
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
import trustme

from azure_workload_identity.cluster.client import Cluster, ClusterUnavailableError
from certs.errors import CertificateError
from certs.upstream_secret import UpstreamSecret
from tests.certs.test_objects import TRUSTED, run_async
from tests.support.apiserver import Answers

UPSTREAM_CA = trustme.CA().cert_pem.bytes()
FORMER = trustme.CA().cert_pem.bytes()


def secret(ca: bytes) -> bytes:
    """Write a Secret as v1.6.0 fills it."""
    data = {"ca.crt": b64encode(ca).decode(), "tls.key": b64encode(b"PRIVATE").decode()} if ca else None
    return json.dumps({"metadata": {"name": "theirs", "resourceVersion": "3"}, "data": data}).encode()


def added(answers: Answers, directory: Path) -> list[bytes]:
    """Add the trusted CA; return each `ca.crt` that was written."""
    run_async(answers, directory, lambda cluster: UpstreamSecret(cluster, "system", "theirs").add_authorities(TRUSTED))
    assert {(method, path) for method, path, _ in answers.sent} <= {
        ("PATCH", "/api/v1/namespaces/system/secrets/theirs")
    }
    operations = [json.loads(body) for _, _, body in answers.sent]
    for test, replacement in operations:
        assert test == {"op": "test", "path": "/metadata/resourceVersion", "value": "3"}
        assert (replacement["op"], replacement["path"]) == ("replace", "/data/ca.crt")
    return [b64decode(replacement["value"]) for _, replacement in operations]


@pytest.mark.parametrize("after", [b"", FORMER, b"junk", TRUSTED + FORMER])
def test_authorities_follow_the_first(tmp_path: Path, after: bytes) -> None:
    """v1.6.0's CA stays the first, which is all that its rotator parses, and only what is trusted now follows."""
    answers = Answers(200, b"{}", script=[(200, secret(UPSTREAM_CA + after))])
    assert added(answers, tmp_path) == [UPSTREAM_CA + TRUSTED]


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, b"{}"), (200, secret(b"")), (200, secret(b"junk")), (200, secret(UPSTREAM_CA + TRUSTED))],
    ids=["no Secret", "never filled", "not a certificate", "added already"],
)
def test_nothing_to_add(tmp_path: Path, status: int, body: bytes) -> None:
    """A Secret that v1.6.0 never filled, or that has the CA already, is not written."""
    assert added(Answers(status, body), tmp_path) == []


@pytest.mark.parametrize("status", [409, 422, 404])
def test_conflict(tmp_path: Path, status: int) -> None:
    """A patch of an outdated version is no error: the caller tries again."""
    assert len(added(Answers(status, b"{}", script=[(200, secret(UPSTREAM_CA))]), tmp_path)) == 1


@pytest.mark.parametrize(
    ("script", "last", "kind"),
    [
        ([], 403, CertificateError),
        ([], 500, ClusterUnavailableError),
        ([(200, secret(UPSTREAM_CA))], 403, CertificateError),
        ([(200, secret(UPSTREAM_CA))], 503, ClusterUnavailableError),
        ([], 200, ClusterUnavailableError),
    ],
)
def test_refused(tmp_path: Path, script: list[tuple[int, bytes]], last: int, kind: type[Exception]) -> None:
    """What RBAC forbids is reported with what to grant; every other failure is transient; no content is shown."""
    message = {403: "grant", 200: "not a Secret"}.get(last, f"HTTP {last}")
    with pytest.raises(kind, match=message) as refused:
        added(Answers(last, b"<html>", script=script), tmp_path)
    assert "PRIVATE" not in str(refused.value)


def test_failure_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While the Secret cannot be read, that is reported once, and tried again until it works."""
    answers = Answers(200, secret(UPSTREAM_CA + TRUSTED), script=[(403, b"{}")] * 3)

    async def prepare(cluster: Cluster) -> None:
        task = asyncio.create_task(
            UpstreamSecret(cluster, "system", "theirs").prepare_rollback(lambda: TRUSTED, seconds=0.001)
        )
        while len(answers.asked) < 5:  # noqa: ASYNC110  the stand-in has no event for it
            await asyncio.sleep(0.001)
        task.cancel()

    with caplog.at_level("WARNING", "certs.upstream_secret"):
        run_async(answers, tmp_path, prepare)
    (record,) = caplog.records
    assert "after a rollback to v1.6.0 this server would not be trusted: the API server" in record.getMessage()
