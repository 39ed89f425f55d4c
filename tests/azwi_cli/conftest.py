"""Azure and a cluster for the commands that need them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azwi_cli.azure import clouds
from azwi_cli.azure.auth import Login
from azwi_cli.azure.session import Session
from azwi_cli.azure.target import CloudTarget
from azwi_cli.console.dry_run import Plan
from testbed.azure_management import Azure, azure_management
from testbed.azure_management.login import Credential


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    """Serve ARM and Graph, trusted by this process."""
    with azure_management(tmp_path) as served:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(served.ca_file))
        yield served


def session_of(azure: Azure, plan: Plan | None = None, **login: str) -> Session:
    """Connect to the emulator as a caller who is logged in."""
    given: dict[str, Any] = {"subscription_id": azure.subscription, "tenant_id": azure.tenant, **login}
    session = Session(Login(**given), CloudTarget(arm_endpoint=azure.arm), plan)
    session.__dict__["credential"] = Credential(azure)
    return session


@pytest.fixture
def session(azure: Azure) -> Iterator[Session]:
    """Connect to the emulator."""
    with session_of(azure) as connected:
        yield connected


@pytest.fixture
def cloud(azure: Azure) -> clouds.Cloud:
    """Describe the emulator as a cloud."""
    return CloudTarget(arm_endpoint=azure.arm).cloud({})
