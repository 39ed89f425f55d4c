"""One server for all tests that do not end it."""

from collections.abc import Iterator

import pytest

from testbed.program import Program, started


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """Run a server for the session."""
    with started(tmp_path_factory.mktemp("server")) as running:
        yield running
