"""Which subscription and which tenant are meant."""

from pathlib import Path
from uuid import uuid4

import pytest

from azwi_cli.azure import clouds, tenant
from azwi_cli.azure.clouds import Cloud
from azwi_cli.console.errors import CommandError, UsageError
from testbed.azure_management import Azure, Failure
from tests.azwi_cli.conftest import session_of

SELECTED = "0b1f6471-1bf0-4dda-aec3-cb9272f09590"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Write the files of an Azure CLI that has selected a subscription, in a directory of its own."""
    (tmp_path / "config").write_text("[cloud]\nname = AzureCloud\n")
    (tmp_path / "clouds.config").write_text(f"[AzureCloud]\nsubscription = {SELECTED}\n", encoding="utf-8-sig")
    return {tenant.ENV_CLI_DIRECTORY: str(tmp_path)}


def test_selected(environ: dict[str, str], tmp_path: Path) -> None:
    """The Azure CLI's subscription is taken, from AZURE_CONFIG_DIR, or from the home directory."""
    assert tenant.selected_subscription(clouds.PUBLIC, environ) == SELECTED
    (home := tmp_path / "home").mkdir()
    (home / ".azure").symlink_to(tmp_path)
    assert tenant.selected_subscription(clouds.PUBLIC, {"HOME": str(home)}) == SELECTED


def test_selected_in_another_cloud(environ: dict[str, str]) -> None:
    """A subscription that is selected in another cloud is not taken for this one's."""
    with pytest.raises(CommandError, match="AzureChinaCloud"):
        tenant.selected_subscription(clouds.CHINA, environ)


@pytest.mark.parametrize(
    "content", ["", "[AzureCloud]\nsubscription = x\n", "[AzureCloud]\n", f"[Other]\nx={SELECTED}\n"]
)
def test_none_selected(environ: dict[str, str], tmp_path: Path, content: str) -> None:
    """Without a selected subscription there is none."""
    (tmp_path / "clouds.config").write_text(content)
    assert not tenant.selected_subscription(clouds.PUBLIC, environ)


def test_broken_files(environ: dict[str, str], tmp_path: Path) -> None:
    """Files that cannot be read are named."""
    (tmp_path / "config").write_text("no section\n")
    with pytest.raises(CommandError, match="config of the Azure CLI"):
        tenant.selected_subscription(clouds.PUBLIC, environ)


def test_tenant_of_subscription(azure: Azure, cloud: Cloud) -> None:
    """The tenant of a subscription is what this cloud's ARM names to whoever asks without a token."""
    assert tenant.tenant_of(azure.subscription, cloud) == azure.tenant
    assert "authorization" not in azure.requests[-1].headers


def test_unknown_subscription(cloud: Cloud) -> None:
    """A subscription that is not there is refused, with the cloud's name."""
    with pytest.raises(CommandError, match="AzureEmulated"):
        tenant.tenant_of(str(uuid4()), cloud)


def test_unnamed_tenant(azure: Azure, cloud: Cloud) -> None:
    """Where ARM does not name the tenant, it has to be given."""
    azure.faults.failures.append(Failure(401, "AuthenticationFailed"))
    with pytest.raises(CommandError, match="does not name the tenant"):
        tenant.tenant_of(azure.subscription, cloud)


def test_given_tenant(azure: Azure) -> None:
    """A tenant that is given is not looked up."""
    with session_of(azure, tenant_id="contoso.onmicrosoft.com") as session:
        assert session.tenant == "contoso.onmicrosoft.com"
    assert azure.requests == []


def test_no_tenant(azure: Azure, tmp_path: Path) -> None:
    """With neither a tenant nor a subscription the flags are named."""
    with session_of(azure, tenant_id="", subscription_id="") as session:
        session.environ = {tenant.ENV_CLI_DIRECTORY: str(tmp_path)}
        with pytest.raises(UsageError) as refused:
            assert session.tenant
    assert "--subscription-id" in refused.value.hint
