"""One emulator, one issuer and one sidecar for all tests that do not change them for good."""

from collections.abc import Iterator

import pytest

from testbed.entra import Entra, Issuer, entra
from testbed.sidecar import Sidecar, register, sidecar


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """Make the cluster's issuer."""
    return Issuer()


@pytest.fixture(scope="session")
def running_entra(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Entra]:
    """Run the emulator with the sidecar's identity."""
    with entra(tmp_path_factory.mktemp("entra")) as emulator:
        register(emulator, issuer)
        yield emulator


@pytest.fixture
def emulator(running_entra: Entra) -> Iterator[Entra]:
    """Give a test the emulator, healthy before and after."""
    running_entra.exchanges.clear()
    yield running_entra
    running_entra.faults.healthy()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory, running_entra: Entra, issuer: Issuer) -> Iterator[Sidecar]:
    """Run a sidecar for the session."""
    with sidecar(tmp_path_factory.mktemp("sidecar"), running_entra, issuer) as started:
        yield started


@pytest.fixture(scope="session")
def shared_port(shared: Sidecar) -> int:
    """Tell where the session's sidecar listens."""
    return shared.port
