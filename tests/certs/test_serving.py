"""Sources of certificates and the context that serves them."""

import asyncio
import os
import ssl
from pathlib import Path

import pytest
import trustme

from certs import source
from certs.key_pair import Pair
from certs.serving import ServingContext
from certs.source import CertificateError, Ephemeral, Mounted
from certs.worker import MakerError
from testbed.processes import until_in_loop
from testbed.program import write_pair


class Given:
    """A source whose pair a test sets."""

    def __init__(self, pair: Pair | CertificateError) -> None:
        self.pair = pair

    def read(self) -> Pair:
        """Return the pair, or fail as told."""
        if isinstance(self.pair, CertificateError):
            raise self.pair
        return self.pair


def made() -> Pair:
    """Make a pair that belongs together."""
    leaf = trustme.CA().issue_cert("127.0.0.1")
    return Pair(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())


def test_mounted(tmp_path: Path) -> None:
    """A mounted pair is read anew each time."""
    mounted = Mounted(tmp_path)
    write_pair(tmp_path, trustme.CA())
    first = mounted.read()
    write_pair(tmp_path, trustme.CA())
    assert mounted.read() != first


def test_empty_file(tmp_path: Path) -> None:
    """An empty file is told of by name."""
    (tmp_path / "tls.crt").touch()
    with pytest.raises(CertificateError, match=r"tls\.crt is empty"):
        Mounted(tmp_path).read()


def test_ephemeral() -> None:
    """An ephemeral pair is made once and verifies with the CA that comes with it."""
    made = Ephemeral(["localhost"])
    context = ServingContext(made, ssl.TLSVersion.TLSv1_3)
    assert made.read() is made.read()
    assert made.ca.startswith("-----BEGIN CERTIFICATE-----")
    assert context.ssl.minimum_version is ssl.TLSVersion.TLSv1_3


def test_ephemeral_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the process that makes certificates fails, that is said."""

    def fail(*_: object) -> None:
        raise MakerError("no certificate could be made: OSError")

    monkeypatch.setattr(source, "make", fail)
    with pytest.raises(CertificateError, match="no certificate could be made"):
        Ephemeral(["localhost"])


def test_refresh() -> None:
    """A refresh tells whether the pair was new."""
    given = Given(made())
    context = ServingContext(given, ssl.TLSVersion.TLSv1_3)
    assert context.refresh() is False
    given.pair = made()
    assert context.refresh() is True


@pytest.mark.parametrize("broken", ["mismatch", "truncated", "junk"])
def test_unusable_pair(broken: str) -> None:
    """A pair that cannot be served is refused without its key in the message, and a good one after it is taken."""
    given = Given(made())
    context = ServingContext(given, ssl.TLSVersion.TLSv1_3)
    good = made()
    given.pair = {
        "mismatch": Pair(good.certificate, made().key),
        "truncated": Pair(good.certificate[:200], good.key),
        "junk": Pair(b"junk", b"junk"),
    }[broken]
    with pytest.raises(CertificateError, match="belongs together") as refused:
        context.refresh()
    assert "PRIVATE" not in str(refused.value)
    given.pair = good
    assert context.refresh() is True


def test_without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system has no files in memory a temporary one does."""
    monkeypatch.delattr(os, "memfd_create")
    assert ServingContext(Given(made()), ssl.TLSVersion.TLSv1_2).refresh() is False


def test_follow() -> None:
    """Following a source takes each change, and tells of one fault once."""
    given = Given(made())
    context = ServingContext(given, ssl.TLSVersion.TLSv1_3)
    changes: list[None] = []
    faults: list[CertificateError] = []

    async def followed() -> None:
        task = asyncio.create_task(context.follow(lambda: changes.append(None), faults.append, 0.01))
        for times in (1, 2):
            given.pair = made()
            await until_in_loop(lambda: len(changes) == times)  # noqa: B023  it is awaited here
            given.pair = CertificateError("gone")
            await until_in_loop(lambda: len(faults) == times)  # noqa: B023  it is awaited here
            await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(followed())
    assert len(changes) == 2
    assert [str(fault) for fault in faults] == ["gone", "gone"]
