"""The Secret and the caBundles, with an API server that answers as scripted."""

import asyncio
import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar, cast

import pytest
import trustme

from azure_workload_identity.cluster.client import Cluster, ClusterUnavailableError
from azure_workload_identity.cluster.watch import ObjectMeta, WebhookConfiguration
from azure_workload_identity.types import JsonObject
from certs.ca_bundle import FORMER_SECONDS, CaBundle, SyncResult
from certs.errors import CertificateError
from certs.secret import CertSecret
from tests.support.apiserver import Answers, answering

T = TypeVar("T")
TRUSTED = b"-----BEGIN CERTIFICATE-----\nnew\n-----END CERTIFICATE-----\n"


def run_async(answers: Answers, directory: Path, action: Callable[[Cluster], Awaitable[T]]) -> T:
    """Run an action with a cluster that answers as scripted."""

    async def run() -> T:
        with answering(answers, directory) as kubeconfig:
            cluster = await Cluster.connect(str(kubeconfig))
            try:
                return await action(cluster)
            finally:
                await cluster.close()

    return asyncio.run(run())


def configuration(*bundles: bytes, version: str = "7") -> bytes:
    """Write a webhook configuration with these caBundles."""
    webhooks = [
        {
            "name": f"w{number}",
            "clientConfig": {
                "service": {"name": "webhook", "namespace": "system"},
                **({"caBundle": b64encode(bundle).decode()} if bundle else {}),
            },
        }
        for number, bundle in enumerate(bundles)
    ]
    return json.dumps({"metadata": {"name": "config", "resourceVersion": version}, "webhooks": webhooks}).encode()


def synced(answers: Answers, directory: Path, patched: list[None] | None = None) -> SyncResult:
    """Make the configuration trust the new CA."""
    count = [] if patched is None else patched
    return run_async(
        answers,
        directory,
        lambda cluster: CaBundle(cluster, "config", lambda: None, lambda: count.append(None)).ensure_trusted(TRUSTED),
    )


def test_trusted_already(tmp_path: Path) -> None:
    """A configuration whose webhooks all trust the CA is not written."""
    answers = Answers(200, configuration(TRUSTED, TRUSTED))
    assert synced(answers, tmp_path) is SyncResult.UNCHANGED
    assert answers.sent == []


def test_patched(tmp_path: Path) -> None:
    """Only the webhooks that do not trust it are patched, and only if the configuration has not changed meanwhile."""
    patched: list[None] = []
    answers = Answers(200, configuration(TRUSTED, TRUSTED, TRUSTED), script=[(200, configuration(b"", TRUSTED, b"x"))])
    assert synced(answers, tmp_path, patched) is SyncResult.PATCHED
    ((method, path, body),) = answers.sent
    value = b64encode(TRUSTED).decode()
    assert (method, path.rsplit("/", 1)[-1], len(patched)) == ("PATCH", "config", 1)
    assert json.loads(body) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": value},
        {"op": "add", "path": "/webhooks/2/clientConfig/caBundle", "value": value},
    ]


@pytest.mark.parametrize("status", [409, 422, 404])
def test_patch_conflict(tmp_path: Path, status: int) -> None:
    """A patch of an outdated version is no error: the configuration is read again."""
    answers = Answers(status, b"{}", script=[(200, configuration(b""))])
    assert synced(answers, tmp_path) is SyncResult.MISSING


def test_no_configuration(tmp_path: Path) -> None:
    """A configuration that does not exist trusts nothing."""
    assert synced(Answers(404), tmp_path) is SyncResult.MISSING


@pytest.mark.parametrize(
    ("script", "last", "kind"),
    [
        ([], 403, CertificateError),
        ([], 500, ClusterUnavailableError),
        ([], 429, ClusterUnavailableError),
        ([(200, configuration(b""))], 403, CertificateError),
        ([(200, configuration(b""))], 503, ClusterUnavailableError),
    ],
)
def test_bundle_refused(tmp_path: Path, script: list[tuple[int, bytes]], last: int, kind: type[Exception]) -> None:
    """What RBAC forbids is reported with what to grant; every other failure is transient."""
    with pytest.raises(kind, match="grant" if last == 403 else f"HTTP {last}"):
        synced(Answers(last, b"{}", script=script), tmp_path)


def ensure_trusted_each(directory: Path, *bundles: bytes) -> list[bytes]:
    """Make a configuration with these caBundles, one after the other, trust the new CA; what each became."""
    answers = Answers(200, script=[(200, configuration(stored)) for bundle in bundles for stored in (bundle, TRUSTED)])

    async def run(cluster: Cluster) -> None:
        bundle = CaBundle(cluster, "config", lambda: None, lambda: None)
        for _ in bundles:
            await bundle.ensure_trusted(TRUSTED)

    run_async(answers, directory, run)
    return [b64decode(operation["value"]) for _, _, body in answers.sent for operation in json.loads(body)[1:]]


@pytest.fixture(scope="module")
def authorities() -> list[bytes]:
    """Create other CAs."""
    return [trustme.CA().cert_pem.bytes() for _ in range(2)]


def test_former_authorities_stay(tmp_path: Path, authorities: list[bytes]) -> None:
    """CAs that were trusted when the server started stay trusted, since it may replace others; later ones do not."""
    first, later = authorities
    written = ensure_trusted_each(tmp_path, b"junk" + first.strip() + b"junk", TRUSTED + first + later, later + first)
    assert written == [TRUSTED + first] * 3


def test_removed_authority_stays_removed(tmp_path: Path, authorities: list[bytes]) -> None:
    """A CA that another replica removed is not written again."""
    first, later = authorities
    assert ensure_trusted_each(tmp_path, first, later, first) == [TRUSTED + first, TRUSTED, TRUSTED]


def test_former_authorities_expire(tmp_path: Path, authorities: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """After the time of an upgrade only the own CAs remain."""
    monkeypatch.setattr("certs.ca_bundle.monotonic", iter([0.0, 0.0, FORMER_SECONDS + 1]).__next__)
    both = TRUSTED + authorities[0]
    assert ensure_trusted_each(tmp_path, authorities[0], both) == [both, TRUSTED]


def test_junk_is_not_kept(tmp_path: Path) -> None:
    """A PEM block that is not a certificate is replaced."""
    junk = b"-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"
    assert ensure_trusted_each(tmp_path, junk) == [TRUSTED]


def test_former_authorities_are_bounded(
    tmp_path: Path, authorities: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many CAs only the first ones are kept."""
    monkeypatch.setattr("certs.ca_bundle.MAX_FORMER", 1)
    assert ensure_trusted_each(tmp_path, b"".join(authorities)) == [TRUSTED + authorities[0]]


def test_hosts() -> None:
    """A webhook is called by its Service's name, or by the host of its URL."""
    bundle = CaBundle(cast("Cluster", None), "config", lambda: None, lambda: None)
    assert bundle.unready_reason(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)).endswith("config is not there")
    webhooks = [*json.loads(configuration(b"a"))["webhooks"], {"clientConfig": {"url": "https://10.0.0.1:8443/mutate"}}]
    bundle.apply(WebhookConfiguration(ObjectMeta("config"), webhooks))
    assert [entry.host for entry in bundle.entries or ()] == ["webhook.system.svc", "10.0.0.1"]


def secret(**data: bytes) -> bytes:
    """Write a Secret."""
    encoded = {key.replace("_", "."): b64encode(value).decode() for key, value in data.items()}
    return json.dumps({"metadata": {"name": "certs", "resourceVersion": "3"}, "data": encoded}).encode()


def saved(answers: Answers, directory: Path) -> bool:
    """Read the Secret and write other content."""

    async def run(cluster: Cluster) -> bool:
        stored = CertSecret(cluster, "system", "certs", lambda: None)
        return await stored.save(await stored.load(), {"ca.crt": b"new"})

    return run_async(answers, directory, run)


def test_secret_is_created(tmp_path: Path) -> None:
    """A Secret that does not exist is created, with a label that says whose it is."""
    answers = Answers(201, b"{}", script=[(404, b"{}")])
    assert saved(answers, tmp_path)
    ((method, path, body),) = answers.sent
    assert (method, path) == ("POST", "/api/v1/namespaces/system/secrets")
    written: JsonObject = json.loads(body)
    assert written["data"] == {"ca.crt": "bmV3"}
    assert written["metadata"]["labels"] == {"app.kubernetes.io/name": "azure-workload-identity-webhook"}


def test_secret_is_replaced(tmp_path: Path) -> None:
    """In an existing Secret the own keys are replaced, at the version that was read."""
    answers = Answers(200, b"{}", script=[(200, secret(ca_crt=b"old", mine=b"kept", tls_key=b"gone"))])
    assert saved(answers, tmp_path)
    ((method, _, body),) = answers.sent
    written = json.loads(body)
    assert (method, written["metadata"]["resourceVersion"]) == ("PUT", "3")
    assert written["data"] == {"mine": b64encode(b"kept").decode(), "ca.crt": "bmV3"}


@pytest.mark.parametrize(("found", "status"), [(404, 409), (200, 409), (200, 404)])
def test_secret_conflict(tmp_path: Path, found: int, status: int) -> None:
    """A write of an outdated version is not an error: the Secret is read again."""
    assert not saved(Answers(status, b"{}", script=[(found, secret())]), tmp_path)


@pytest.mark.parametrize(("status", "kind"), [(403, CertificateError), (500, ClusterUnavailableError)])
def test_secret_refused(tmp_path: Path, status: int, kind: type[Exception]) -> None:
    """A forbidden access is reported with what to grant, without the Secret's content."""
    with pytest.raises(kind) as refused:
        saved(Answers(status, b"{}", script=[(200, secret(tls_key=b"PRIVATE"))]), tmp_path)
    assert "PRIVATE" not in str(refused.value)


HELM = {"meta.helm.sh/release-name": "azwi", "meta.helm.sh/release-namespace": "system"}


def test_new_secret_belongs_to_the_release(tmp_path: Path) -> None:
    """A Secret that is created belongs to the Helm release of its owner, without labels that an upgrade changes."""
    labels = {
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/name": "webhook",
        "helm.sh/chart": "webhook-1.0",
    }
    owner = ObjectMeta("config", labels=labels, annotations={**HELM, "example.com/other": "x"})
    answers = Answers(201, b"{}", script=[(404, b"{}")])

    async def create(cluster: Cluster) -> bool:
        stored = CertSecret(cluster, "system", "certs", lambda: None)
        return await stored.save(await stored.load(), {"ca.crt": b"new"}, owner)

    assert run_async(answers, tmp_path, create)
    ((_, _, body),) = answers.sent
    metadata = json.loads(body)["metadata"]
    assert metadata["annotations"] == HELM
    assert metadata["labels"] == {"app.kubernetes.io/managed-by": "Helm", "app.kubernetes.io/name": "webhook"}


def load_secret(answers: Answers, directory: Path) -> object:
    """Read the Secret."""
    return run_async(answers, directory, lambda cluster: CertSecret(cluster, "system", "certs", lambda: None).load())


def test_secret_of_another_program(tmp_path: Path) -> None:
    """A Secret of the type that cert-manager keeps is left alone, and the message says what to do."""
    stored = {**json.loads(secret(tls_crt=b"x", tls_key=b"y")), "type": "kubernetes.io/tls"}
    with pytest.raises(CertificateError, match=r"own \(--cert-secret, .* kubectl -n system delete secret certs"):
        load_secret(Answers(200, json.dumps(stored).encode()), tmp_path)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"data": {"ca.crt": 1}}', b'{"data": {"ca.crt": "!"}}'])
def test_broken_answer(tmp_path: Path, body: bytes) -> None:
    """An answer that is not what was asked for is waited out, like no answer."""
    with pytest.raises(ClusterUnavailableError, match="not a Secret"):
        load_secret(Answers(200, body), tmp_path)
    with pytest.raises(ClusterUnavailableError, match="not a webhook configuration"):
        synced(Answers(200, b"[1"), tmp_path)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, configuration(b""), "True"),
        (404, b"{}", "False"),
        (403, b"{}", CertificateError),
        (500, b"{}", ClusterUnavailableError),
    ],
)
def test_check_writable(tmp_path: Path, status: int, body: bytes, expected: type[Exception] | str) -> None:
    """Whether the caBundle may be written is found out by a dry run that changes nothing."""
    answers = Answers(status, body)

    def check() -> bool:
        return run_async(
            answers,
            tmp_path,
            lambda cluster: CaBundle(cluster, "config", lambda: None, lambda: None).check_writable(),
        )

    if isinstance(expected, str):
        assert str(check()) == expected
    else:
        with pytest.raises(expected):
            check()
    ((method, path, sent),) = answers.sent
    assert (method, path.rpartition("/")[2]) == ("PATCH", "config?dryRun=All")
    assert [operation["op"] for operation in json.loads(sent)] == ["test"]
