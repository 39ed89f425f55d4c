"""The server's settings, as commands take them."""

import yaml
from click.testing import CliRunner

from azwi_cli.main import program
from azwi_cli.offline import policy
from testbed.program import TENANT
from tests.azwi_cli.commands.test_mutate import ACCOUNT, DEPLOYMENT, ran


def test_settings() -> None:
    """The server's flags and variables mean here what they mean there."""
    runner, text = CliRunner(), yaml.safe_dump_all([ACCOUNT, DEPLOYMENT])
    done = runner.invoke(
        program,
        ["mutate", "-f", "-", "--service-account-token-expiration", "7200", "-o", "patch"],
        input=text,
        env={"AZURE_TENANT_ID": TENANT, "AZURE_ENVIRONMENT": "AzureChinaCloud"},
    )
    assert '"expirationSeconds": 7200' in done.stdout
    assert "login.chinacloudapi.cn" in done.stdout


def test_unusable_setting() -> None:
    """A setting that the server would refuse is wrong usage, in the server's words."""
    done = ran(DEPLOYMENT, arguments=("--service-account-token-expiration", "60"))
    assert done.exit_code == 2
    assert "--service-account-token-expiration '60'" in done.stderr


def test_unknown_tenant() -> None:
    """Without a tenant one that is seen for what it is stands for it."""
    done = ran(ACCOUNT, DEPLOYMENT, tenant="")
    assert done.exit_code == 0
    assert policy.UNKNOWN_TENANT in done.stdout
    assert "--tenant-id" in done.stderr
