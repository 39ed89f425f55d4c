"""Certificate sources and the serving context."""

import asyncio
import os
import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from bench.load import memory
from certs import serving, source
from certs.errors import CertificateError
from certs.key_pair import KeyPair
from certs.serving import ServingContext, follow
from certs.source import FileSource, InMemorySource
from certs.worker import WorkerError
from testbed.processes import until_in_loop
from testbed.program import write_pair


class SettableSource:
    """A source whose pair a test sets."""

    def __init__(self, pair: KeyPair | CertificateError) -> None:
        self.pair = pair

    def read(self) -> KeyPair:
        """Return the pair, or raise the error."""
        if isinstance(self.pair, CertificateError):
            raise self.pair
        return self.pair


def new_pair() -> KeyPair:
    """Make a pair that belongs together."""
    leaf = trustme.CA().issue_cert("127.0.0.1")
    return KeyPair(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())


def test_files(tmp_path: Path) -> None:
    """A mounted pair is read again each time."""
    files = FileSource(tmp_path)
    write_pair(tmp_path, trustme.CA())
    first = files.read()
    write_pair(tmp_path, trustme.CA())
    assert files.read() != first


def test_replaced_certificates_keep_no_memory() -> None:
    """A server that loads one certificate after the other does not grow: 400 of them keep less than 2 MiB."""
    pairs = [new_pair() for _ in range(10)]
    served = SettableSource(pairs[0])
    context = ServingContext(served, ssl.TLSVersion.TLSv1_3)

    def replace(count: int) -> float:
        for number in range(1, count + 1):
            served.pair = pairs[number % len(pairs)]
            assert context.refresh()
        return memory(os.getpid()).rss

    before = replace(100)
    assert replace(400) - before < 2


def test_empty_file(tmp_path: Path) -> None:
    """An empty file is reported by name."""
    (tmp_path / "tls.crt").touch()
    with pytest.raises(CertificateError, match=r"tls\.crt is empty"):
        FileSource(tmp_path).read()


def test_in_memory() -> None:
    """A pair in memory is made once and verifies with its CA."""
    source_in_memory = InMemorySource(["localhost"])
    context = ServingContext(source_in_memory, ssl.TLSVersion.TLSv1_3)
    assert source_in_memory.read() is source_in_memory.read()
    assert source_in_memory.ca.startswith("-----BEGIN CERTIFICATE-----")
    assert context.ssl.minimum_version is ssl.TLSVersion.TLSv1_3


def test_in_memory_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of the worker process is reported."""

    def fail(*_: object) -> None:
        raise WorkerError("no certificate could be made: OSError")

    monkeypatch.setattr(source, "run_step", fail)
    with pytest.raises(CertificateError, match="no certificate could be made"):
        InMemorySource(["localhost"])


def test_refresh() -> None:
    """A refresh returns whether the pair was new."""
    settable = SettableSource(new_pair())
    context = ServingContext(settable, ssl.TLSVersion.TLSv1_3)
    assert context.refresh() is False
    settable.pair = new_pair()
    assert context.refresh() is True


def test_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions of TLS 1.2, which clients that close properly leave behind, are forgotten when there are many."""
    monkeypatch.setattr(serving, "MAX_SESSIONS", 2)

    def without_tickets(context: ssl.SSLContext) -> None:
        context.options |= ssl.OP_NO_TICKET

    context = ServingContext(SettableSource(new_pair()), ssl.TLSVersion.TLSv1_2, without_tickets)
    used = context.ssl
    for _ in range(3):
        assert (context.refresh(), context.ssl) == (False, used)
        shake_hands(used)
    assert used.session_stats()["number"] == 3
    assert context.refresh() is False
    assert context.ssl.session_stats()["number"] == 0


def shake_hands(server: ssl.SSLContext) -> None:
    """Open a TLS 1.2 connection in memory, and close it as the protocol has it."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)
    for step in ("do_handshake", "do_handshake", "do_handshake", "unwrap", "unwrap"):
        for side in sides:
            with suppress(ssl.SSLWantReadError):
                getattr(side, step)()


@pytest.mark.parametrize("broken", ["mismatch", "truncated", "junk"])
def test_unusable_pair(broken: str) -> None:
    """A pair that cannot be served is refused without its key in the message, and a good one after it is taken."""
    settable = SettableSource(new_pair())
    context = ServingContext(settable, ssl.TLSVersion.TLSv1_3)
    good = new_pair()
    settable.pair = {
        "mismatch": KeyPair(good.certificate, new_pair().key),
        "truncated": KeyPair(good.certificate[:200], good.key),
        "junk": KeyPair(b"junk", b"junk"),
    }[broken]
    with pytest.raises(CertificateError, match="belongs together") as refused:
        context.refresh()
    assert "PRIVATE" not in str(refused.value)
    settable.pair = good
    assert context.refresh() is True


def test_without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without files in memory a temporary file is used."""
    monkeypatch.delattr(os, "memfd_create")
    assert ServingContext(SettableSource(new_pair()), ssl.TLSVersion.TLSv1_2).refresh() is False


def test_follow() -> None:
    """Following a source loads each change, and reports repeated equal errors once."""
    settable = SettableSource(new_pair())
    context = ServingContext(settable, ssl.TLSVersion.TLSv1_3)
    changes: list[None] = []
    errors: list[CertificateError] = []

    async def run() -> None:
        task = asyncio.create_task(follow(context.refresh, lambda: changes.append(None), errors.append, 0.01))
        for times in (1, 2):
            settable.pair = new_pair()
            await until_in_loop(lambda: len(changes) == times)  # noqa: B023  it is awaited here
            settable.pair = CertificateError("gone")
            await until_in_loop(lambda: len(errors) == times)  # noqa: B023  it is awaited here
            await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(run())
    assert len(changes) == 2
    assert [str(error) for error in errors] == ["gone", "gone"]
