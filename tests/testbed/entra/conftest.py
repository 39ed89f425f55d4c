"""One emulator and one issuer for the tests of this folder; each test registers an identity of its own."""

from collections.abc import Iterator

import pytest

from testbed.entra import Entra, FederatedCredential, Issuer, entra
from tests.testbed.entra.client import Client


@pytest.fixture(scope="package")
def issuer() -> Issuer:
    """Make an issuer of service-account tokens."""
    return Issuer()


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Entra]:
    """Run the emulator; it trusts the issuer."""
    with entra(tmp_path_factory.mktemp("entra")) as emulator:
        emulator.trust(issuer.url, issuer.jwks)
        yield emulator


@pytest.fixture
def client(running: Entra, issuer: Issuer) -> Iterator[Client]:
    """Register an identity that trusts a service account, and make a client that acts for it."""
    client = Client(running, issuer)
    running.register(client.tenant, client.client_id, FederatedCredential(issuer.url, client.subject))
    yield client
    running.faults.healthy()
