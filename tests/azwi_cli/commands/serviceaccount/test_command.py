"""`azwi serviceaccount` as people type it, against the emulator of Azure; with a cluster in tests/cluster."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from azwi_cli.azure.options import AZURE_VARIABLES
from azwi_cli.azure.polling import Polling
from azwi_cli.commands.serviceaccount.phases import ALIASES, CREATE, DELETE
from azwi_cli.console.errors import Status
from azwi_cli.main import program
from testbed.azure_management import Azure
from testbed.azure_management.login import install_az
from testbed.program import ROOT
from tests.azwi_cli.commands.serviceaccount.conftest import ISSUER
from tests.azwi_cli.commands.serviceaccount.test_create import role
from tests.support.schemas import follows_schema

Azwi = Callable[..., Result]


@pytest.fixture
def azwi(azure: Azure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Azwi:
    """Run `azwi serviceaccount` as somebody whom the Azure CLI knows, with no cluster in reach."""
    monkeypatch.setenv("PATH", f"{install_az(azure, tmp_path / 'bin')}:/usr/bin:/bin")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(command: str, *flags: str) -> Result:
        azure_flags = [f"--arm-endpoint={azure.arm}", f"--subscription-id={azure.subscription}", "--auth-method=cli"]
        return CliRunner().invoke(program, ["sa", *command.split(), *azure_flags, *flags])

    return run


WEB = ("--service-account-name=web", f"--service-account-issuer-url={ISSUER}")
NO_CLUSTER = "--skip-phases=service-account"


def flags_of(azure: Azure) -> list[str]:
    """Write the flags of a role."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in role(azure).items()]


def test_interrupted(azure: Azure, azwi: Azwi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C in a wait ends with 130, and tells what was done before it and that a second run goes on."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    azure.faults.hidden_reads = 1
    monkeypatch.setattr(Polling, "until", stop)
    done = azwi("create", *WEB, NO_CLUSTER, "--output=json")
    assert done.exit_code == Status.INTERRUPTED
    assert "continues where it stopped" in done.stderr
    outcomes = {phase["phase"]: phase["outcome"] for phase in follows_schema("serviceaccount", done.stdout)["phases"]}
    assert "failed" in outcomes.values()
    assert len(azure.applications) == 1


def test_story(azure: Azure, azwi: Azwi) -> None:
    """Create, create again, delete, delete again: each ends well and says what it did."""
    arguments = (*WEB, *flags_of(azure), NO_CLUSTER)
    created = azwi("create", *arguments)
    assert created.exit_code == 0, created.output
    assert "created" in created.stdout
    assert f"client id {azure.applications[0]['appId']}" in created.stdout
    assert "azwi token exchange" not in created.stdout  # without a ServiceAccount there is nothing to try
    again = azwi("create", *arguments)
    assert "unchanged" in again.stdout
    assert " created" not in again.stdout
    assert "deleted" in azwi("delete", *arguments).stdout
    gone = azwi("delete", *arguments)
    assert gone.exit_code == 0
    assert "absent" in gone.stdout


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_machines(azure: Azure, azwi: Azwi, form: str) -> None:
    """Machines get every phase with its outcome and its ids, and nothing else on stdout."""
    done = azwi("create", *WEB, NO_CLUSTER, "--output", form)
    document = json.loads(done.stdout) if form == "json" else yaml.safe_load(done.stdout)
    assert [phase["phase"] for phase in document["phases"]] == list(CREATE)
    assert document["phases"][0]["details"]["client id"] == azure.applications[0]["appId"]
    assert document["dryRun"] is False


def test_dry_run(azure: Azure, azwi: Azwi) -> None:
    """A dry run prints every request that would be sent, with its body, and sends none."""
    done = azwi("create", *WEB, *flags_of(azure), NO_CLUSTER, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "would be created" in done.stdout
    assert f"POST {azure.graph}/v1.0/applications\n{{\n" in done.stdout
    assert f'"issuer": "{ISSUER}"' in done.stdout
    assert azure.writes() == []
    document = follows_schema("serviceaccount", azwi("create", *WEB, NO_CLUSTER, "--dry-run", "--output=json").stdout)
    assert document["requests"][0] == {
        "method": "POST",
        "url": f"{azure.graph}/v1.0/applications",
        "body": {"displayName": "default-web-yPAKSPqKlupKzuEVPoUgyilHOBTzLinQQRAR1xDm6fk="},
    }
    azwi("create", *WEB, NO_CLUSTER)
    assert "Nothing to change." in azwi("create", *WEB, NO_CLUSTER, "--dry-run").stdout


def test_failure(azure: Azure, azwi: Azwi) -> None:
    """A failure exits with 1, says on stderr what to do next, and on stdout what was done before it."""
    azure.permissions.discard("*")
    done = azwi("create", *WEB, *flags_of(azure), NO_CLUSTER)
    assert done.exit_code == 1
    assert "azwi: role-assignment: " in done.stderr
    assert "Role Based Access Control Administrator" in done.stderr
    assert "federated-identity   created" in done.stdout
    assert "role-assignment      failed" in done.stdout


def test_nothing_secret(azure: Azure, azwi: Azwi) -> None:
    """No token and no secret is printed, with --debug or without."""
    done = azwi("create", *WEB, NO_CLUSTER)
    logged = CliRunner().invoke(program, ["--debug", "sa", "delete", *WEB, NO_CLUSTER, f"--arm-endpoint={azure.arm}"])
    for token in (azure.token(azure.arm), azure.token(azure.graph)):
        assert token.split(".")[1] not in done.output + logged.output


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_skip_phases(azwi: Azwi, azure: Azure, verb: str) -> None:
    """Phases are skipped by a list, by the flag repeated, by either of their names."""
    phases = CREATE if verb == "create" else DELETE
    short = {name: alias for alias, name in ALIASES.items()}
    names = [short[name] if index % 2 else name for index, name in enumerate(phases)]
    done = azwi(verb, *WEB, f"--skip-phases={','.join(names[:2])}", *(f"--skip-phases={name}" for name in names[2:]))
    assert done.exit_code == 0, done.output
    assert done.stdout.count("skipped") == len(phases)
    assert azure.writes() == []


@pytest.mark.parametrize(
    ("command", "flags"),
    [
        ("create", ["--skip-phases=aad-app"]),
        ("delete", ["--skip-phases=managed-identity"]),
        ("create phase aap", []),
        ("create", ["--no-such-flag"]),
        ("create", ["--service-account-token-expiration=30m"]),
        ("create", ["--azure-env=AzurePublicClod", "--arm-endpoint="]),
        ("create", ["--aad-application-client-id=no-uuid"]),
        ("create", ["--identity-name=web"]),
        ("create", ["--identity-resource-id=/subscriptions/x"]),
        ("create", ["--identity-location=westeurope"]),
        ("create", ["--aad-application-name=a", "--identity-name=web", "--identity-resource-group=g"]),
        ("create", ["--azure-role=Reader"]),
        ("create", ["--auth-method=password"]),
        ("create", ["--tenant-id=no tenant"]),
        ("delete", ["--role-assignment-id=1"]),
        ("create phase role-assignment", []),
        ("create phase managed-identity", []),
        ("delete phase role-assignment", []),
        ("create", ["--service-account-name="]),
        ("delete", ["--service-account-name="]),
    ],
)
def test_wrong_usage(azure: Azure, azwi: Azwi, command: str, flags: list[str]) -> None:
    """What cannot be meant exits with 2 before anything is changed."""
    known = () if command in ("create phase managed-identity", "create phase aap") else WEB
    done = azwi(command, *known, *flags)
    assert done.exit_code == 2, done.output
    assert azure.writes() == []


def test_mistyped_subscription(azure: Azure, azwi: Azwi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistyped subscription never becomes the one that the Azure CLI has selected."""
    (tmp_path / "clouds.config").write_text(f"[AzureCloud]\nsubscription = {azure.subscription}\n")
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path))
    done = azwi("create", *WEB, "-s", "5f9c2b1a")
    assert done.exit_code == 2
    assert "--subscription-id '5f9c2b1a' is not a UUID" in done.stderr


def test_flags_before_a_phase() -> None:
    """Flags that stand before `phase` are refused, because they would be lost."""
    done = CliRunner().invoke(program, ["sa", "create", *WEB, "phase", "app"])
    assert done.exit_code == 2
    assert "follow its name" in done.stderr


@pytest.mark.parametrize("alias", ["app", "fi"])
def test_single_phases(azure: Azure, azwi: Azwi, alias: str) -> None:
    """A phase alone, by its short name, does its part and no other."""
    azwi("create phase aad-application", *WEB)
    done = azwi(f"create phase {alias}", *WEB)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1].startswith(ALIASES[alias])
    assert len(azure.credentials[azure.applications[0]["id"]]) == (alias == "fi")


def test_identity_by_name(azure: Azure, azwi: Azwi) -> None:
    """A managed identity is named by its name and resource group, in the subscription."""
    azure.add_identity("web-identity", "identities")
    done = azwi("create phase fi", *WEB, "--identity-name=web-identity", "--identity-resource-group=identities")
    assert done.exit_code == 0, done.output
    assert "managed identity web-identity" in done.stdout


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_no_cluster(azure: Azure, azwi: Azwi, verb: str) -> None:
    """Without a cluster it is refused in a sentence, before anything is changed in Azure."""
    done = azwi(verb, *WEB)
    assert done.exit_code == 1
    assert "there is no kubeconfig" in done.stderr
    assert azure.writes() == []


@pytest.mark.parametrize("module", ["azwi_cli.commands.serviceaccount", "azwi_cli.commands.token.command"])
def test_help_is_light(module: str) -> None:
    """What help and completion load has nothing of Azure's SDK, the cluster's client or an HTTP client."""
    heavy = "{'azure', 'msal', 'requests', 'httpx', 'urllib3', 'kubernetes', 'cryptography', 'rich'}"
    code = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    process = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert process.stdout == "[]\n"


def test_help_needs_nothing() -> None:
    """Help costs no login and no network, and lists the phases in the order in which they run."""
    done = CliRunner().invoke(program, ["sa", "create", "phase", "--help"])
    positions = [done.output.index(f"\n  {name}") for name in CREATE]
    assert done.exit_code == 0
    assert positions == sorted(positions)
