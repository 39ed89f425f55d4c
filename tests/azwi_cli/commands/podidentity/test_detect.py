"""`azwi podidentity detect`; with a cluster in tests/cluster."""

from pathlib import Path

import pytest
from click.testing import Result

from azure_workload_identity.types import JsonObject
from azwi_cli.cluster.kube import Cluster
from azwi_cli.commands.podidentity import workloads
from azwi_cli.commands.podidentity.workloads import PodIdentityResources
from tests.azwi_cli.commands.podidentity.objects import CLIENT, RESOURCE, binding, identity, workload
from tests.azwi_cli.test_main import azwi
from tests.support.commands import azwi_commands, parsed
from tests.support.schemas import follows_schema

HOSTILE = "x'; rm -rf ~; \x1b[2J$(id)"


def detected(monkeypatch: pytest.MonkeyPatch, identities: list[JsonObject], *arguments: str) -> Result:
    """Run the command on a snapshot with one Deployment."""
    snapshot = PodIdentityResources(identities=identities, bindings=[binding()], workloads=[workload()])
    monkeypatch.setattr(Cluster, "connect", lambda _target: None)
    monkeypatch.setattr(workloads, "read", lambda _cluster, _namespace: snapshot)
    return azwi("podidentity", "detect", *arguments)


def commands(done: Result) -> list[dict[str, object]]:
    """Return what azwi would make of the commands that were printed."""
    assert done.exit_code == 0, done.output
    return [parsed(arguments) for line in done.stdout.splitlines() for arguments in azwi_commands(line.strip())]


def test_commands_can_be_pasted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What others wrote into an identity is quoted in the commands to paste, and steers no terminal."""
    done = detected(monkeypatch, [identity(resourceID=HOSTILE)], "-o", str(tmp_path))
    assert done.exit_code == 0, done.output
    [command] = [line for line in done.stdout.splitlines() if "azwi serviceaccount create" in line]
    assert """--identity-resource-id 'x'"'"'; rm -rf ~; """ in command
    [arguments] = azwi_commands(command)
    assert parsed(arguments)["identity_resource_id"] == HOSTILE.replace("\x1b", "\N{REPLACEMENT CHARACTER}")
    assert "\x1b" not in done.stdout


def test_application(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The federated credential of an application is made at the application."""
    done = detected(monkeypatch, [identity(type=1)], "-o", str(tmp_path))
    [given] = commands(done)
    assert given["aad_application_client_id"] == CLIENT


def test_managed_identity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The printed command is one that azwi takes, for the identity and the ServiceAccount of the files."""
    [given] = commands(detected(monkeypatch, [identity()], "-o", str(tmp_path)))
    names = ("identity_resource_id", "service_account_namespace", "service_account_name")
    assert [given[name] for name in names] == [RESOURCE, "shop", "web"]


def test_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines get every migration, as the published schema describes it."""
    document = follows_schema("podidentity-detect", detected(monkeypatch, [identity()], "--output=json").stdout)
    [migration] = document["migrations"]
    assert (migration["clientID"], migration["file"]) == (CLIENT, "shop.deployment.web.yaml")


def test_only_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a directory nothing is written, and what would write is named."""
    monkeypatch.chdir(tmp_path)
    output = detected(monkeypatch, [identity()]).stdout
    [arguments] = azwi_commands(output.splitlines()[-1].partition("Next: ")[2].replace(" writes the manifests.", ""))
    assert parsed(arguments)["output_dir"] == Path("DIR")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments", [("--tenant-id", "no tenant"), ("--service-account-token-expiration", "30m"), ("-p", "70000")]
)
def test_usage(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    """What the webhook would refuse is wrong usage."""
    assert detected(monkeypatch, [identity()], *arguments).exit_code == 2
