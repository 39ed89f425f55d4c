"""`azwi serviceaccount` and `azwi token exchange` with a real API server, the webhook and Entra."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.options import AZURE_VARIABLES
from azwi_cli.main import program
from testbed.azure_management import Azure, azure_management
from testbed.azure_management.login import install_az
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.manifests import environment, pod, token_volumes
from testbed.entra import Entra, FederatedCredential, entra
from testbed.processes import until
from testbed.program import ROOT
from tests.support.commands import parsed

Azwi = Callable[..., Result]
VAULT = "https://vault.azure.net/.default"


@pytest.fixture
def microsoft(tmp_path: Path, control_plane: ControlPlane) -> Iterator[tuple[Azure, Entra]]:
    """Run ARM, Graph and Entra: Entra knows what is created in the first two, and the cluster's keys."""
    with azure_management(tmp_path / "azure") as azure, entra(tmp_path / "entra") as login:
        login.trust("https://issuer.azwi.test/", control_plane.request("GET", "/openid/v1/jwks"))

        def known(client_id: str, issuer: str, subject: str, audience: str) -> None:
            login.register(azure.tenant, client_id, FederatedCredential(issuer, subject, audience))

        azure.on_credential, azure.login = known, login.url
        yield azure, login


@pytest.fixture
def azwi(
    microsoft: tuple[Azure, Entra], control_plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Azwi:
    """Run a command as an admin of that cluster and of that tenant."""
    azure, login = microsoft
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(azure.ca_file.read_bytes() + login.ca_file.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("PATH", f"{install_az(azure, tmp_path / 'bin')}:/usr/bin:/bin")
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> Result:
        cloud = [f"--arm-endpoint={azure.arm}"]
        return CliRunner().invoke(program, [*words, *cloud])

    return run


def account_of(control_plane: ControlPlane, namespace: str, name: str) -> JsonObject:
    """Read a ServiceAccount."""
    return control_plane.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")


def as_admin(azure: Azure) -> list[str]:
    """Name the subscription, as v1.6.0 takes it, and the way to log in."""
    return [f"-s={azure.subscription}", "--auth-method=cli"]


def create(azwi: Azwi, azure: Azure, namespace: str, *flags: str) -> Result:
    """Create the identity of the account `web`."""
    return azwi("sa", "create", "--service-account-name=web", f"--namespace={namespace}", *as_admin(azure), *flags)


@pytest.mark.parametrize("kind", ["application", "managed identity"])
def test_from_nothing_to_a_token(
    control_plane: ControlPlane, namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra], kind: str
) -> None:
    """One command, a pod that the webhook mutates, and Entra takes its token; after `delete` it does so no more."""
    azure, login = microsoft
    azure.faults.hidden_reads = 1
    identity = azure.add_identity("web-identity")["id"]
    flags = () if kind == "application" else (f"--identity-resource-id={identity}",)

    created = create(azwi, azure, namespace, *flags)
    assert created.exit_code == 0, created.output
    printed = created.stdout.partition("Try it: azwi ")[2]
    assert printed.startswith(f"token exchange --namespace={namespace} --service-account=web")

    stored = control_plane.create_pod(namespace, pod(serviceAccountName="web"))
    variables = environment(stored["spec"]["containers"][0])
    volume, _ = token_volumes(stored)
    audience = volume["projected"]["sources"][0]["serviceAccountToken"]["audience"]
    principals = {principal["appId"] for principal in azure.service_principals}
    assert variables[names.ENV_CLIENT_ID] in principals
    assert variables[names.ENV_TENANT_ID] == azure.tenant
    assert audience == names.DEFAULT_AUDIENCE

    exchanged = azwi(*shlex.split(printed), f"--scope={VAULT}", "--output=json")
    assert exchanged.exit_code == 0, exchanged.output
    document = json.loads(exchanged.stdout)
    assert document["assertion"]["sub"] == f"system:serviceaccount:{namespace}:web"
    assert document["token"]["appid"] == variables[names.ENV_CLIENT_ID]
    assert login.exchanges[-1].status == 200

    account = (f"--namespace={namespace}", "--service-account=web")
    deleted = azwi("sa", "delete", *account, *as_admin(azure), *flags)
    assert deleted.exit_code == 0, deleted.output
    assert not any(azure.credentials.values())
    again = azwi("sa", "delete", *account, *as_admin(azure), *flags)
    assert again.exit_code == 0, again.output
    assert "deleted" not in again.stdout


def test_quick_start_of_v160(
    control_plane: ControlPlane, plain_namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra]
) -> None:
    """The phases of v1.6.0's quick start, one by one and with its flags, do what they did there, and can be undone."""
    azure, _ = microsoft
    name = ["--aad-application-name", "quick-start"]
    account = ["--service-account-namespace", plain_namespace, "--service-account-name", "web"]
    issuer = ["--service-account-issuer-url", "https://issuer.azwi.test/"]
    scope = f"/subscriptions/{azure.subscription}"
    phases = [
        ["create", "phase", "app", *name],
        ["create", "phase", "sa", *name, *account],
        ["create", "phase", "federated-identity", *name, *account, *issuer],
        ["create", "phase", "ra", "--azure-role=Reader", f"--azure-scope={scope}", "--service-principal-name", name[1]],
    ]
    for phase in phases:
        done = azwi("serviceaccount", *phase, *as_admin(azure))
        assert done.exit_code == 0, done.output
    (application,) = azure.applications
    annotations = account_of(control_plane, plain_namespace, "web")["metadata"]["annotations"]
    assert annotations == {names.CLIENT_ID: application["appId"], names.TENANT_ID: azure.tenant}
    assert len(azure.credentials[application["id"]]) == len(azure.role_assignments) == 1

    role = f"--role-assignment-id={azure.role_assignments[0]['id']}"
    done = azwi("serviceaccount", "delete", *name, *account, *issuer, role, *as_admin(azure))
    assert done.exit_code == 0, done.output
    assert azure.applications == azure.role_assignments == []


def test_cluster_issuer(plain_namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra]) -> None:
    """Without an issuer the cluster's own is used; another one is warned of, and one without its slash refused."""
    azure, _ = microsoft
    create(azwi, azure, plain_namespace)
    (credential,) = azure.credentials[azure.applications[0]["id"]]
    assert credential["issuer"] == "https://issuer.azwi.test/"
    other = create(azwi, azure, plain_namespace, "--service-account-issuer-url=https://other.azwi.test")
    assert "tokens of this cluster carry the issuer https://issuer.azwi.test/, not" in other.stdout
    applications = len(azure.applications)
    slash = create(azwi, azure, plain_namespace, "--service-account-issuer-url=https://issuer.azwi.test")
    assert slash.exit_code == 2
    assert "a slash or letter case differs" in slash.stderr
    assert len(azure.applications) == applications


def test_account_is_not_overwritten(
    control_plane: ControlPlane, plain_namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra]
) -> None:
    """Other fields of a ServiceAccount stay; only our annotations change, and only if they must."""
    azure, _ = microsoft
    control_plane.apply(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {
                "namespace": plain_namespace,
                "name": "web",
                "labels": {"team": "shop"},
                "annotations": {"somebody": "else"},
            },
            "imagePullSecrets": [{"name": "registry"}],
        }
    )
    done = create(azwi, azure, plain_namespace, "--service-account-token-expiration=3600.5s")
    assert "updated" in done.stdout, done.output
    stored = account_of(control_plane, plain_namespace, "web")
    assert stored["imagePullSecrets"] == [{"name": "registry"}]
    assert stored["metadata"]["labels"] == {"team": "shop"}
    assert stored["metadata"]["annotations"] == {
        "somebody": "else",
        names.CLIENT_ID: azure.applications[0]["appId"],
        names.TENANT_ID: azure.tenant,
        names.TOKEN_EXPIRATION: "3601",
    }

    again = create(azwi, azure, plain_namespace, "--service-account-token-expiration=3600.5s")
    assert "updated" not in again.stdout
    assert account_of(control_plane, plain_namespace, "web") == stored

    create(azwi, azure, plain_namespace)
    assert names.TOKEN_EXPIRATION not in account_of(control_plane, plain_namespace, "web")["metadata"]["annotations"]


def test_annotation_of_another_manager(
    control_plane: ControlPlane, plain_namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra]
) -> None:
    """A client id that another manager has set is not overwritten but reported, and taken over on request."""
    azure, _ = microsoft
    annotated = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"namespace": plain_namespace, "name": "web", "annotations": {names.CLIENT_ID: "theirs"}},
    }
    control_plane.apply(annotated)
    refused = create(azwi, azure, plain_namespace)
    assert refused.exit_code == 1
    assert "conflict" in refused.stderr
    assert "--force-conflicts" in refused.stderr
    assert account_of(control_plane, plain_namespace, "web")["metadata"]["annotations"] == {names.CLIENT_ID: "theirs"}

    taken = create(azwi, azure, plain_namespace, "--force-conflicts")
    assert taken.exit_code == 0, taken.output
    stored = account_of(control_plane, plain_namespace, "web")["metadata"]["annotations"]
    assert stored[names.CLIENT_ID] == azure.applications[0]["appId"]


def test_label(control_plane: ControlPlane, plain_namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra]) -> None:
    """--label sets the label that admission policies select by, which a later run without it keeps."""
    azure, _ = microsoft
    phases = "--skip-phases=federated-identity"
    create(azwi, azure, plain_namespace, phases)
    assert "labels" not in account_of(control_plane, plain_namespace, "web")["metadata"]
    for flags, outcome in ((("--label",), "updated"), ((), "unchanged"), (("--label",), "unchanged")):
        done = create(azwi, azure, plain_namespace, phases, *flags)
        assert re.search(rf"^service-account +{outcome} ", done.stdout, re.MULTILINE), done.output
        labels = account_of(control_plane, plain_namespace, "web")["metadata"]["labels"]
        assert labels == {names.USE_LABEL: "true"}


def test_dry_run(control_plane: ControlPlane, plain_namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra]) -> None:
    """A dry run shows the manifest among the requests, and leaves cluster and Azure as they are."""
    azure, _ = microsoft
    done = create(azwi, azure, plain_namespace, "--dry-run", "--output=json")
    requests = json.loads(done.stdout)["requests"]
    assert [request["method"] for request in requests] == ["POST", "POST", "PATCH", "POST"]
    assert requests[2]["url"] == f"/api/v1/namespaces/{plain_namespace}/serviceaccounts/web?fieldManager=azwi"
    assert requests[2]["body"]["metadata"]["annotations"] == {
        names.CLIENT_ID: "<client id of the new application>",
        names.TENANT_ID: azure.tenant,
    }
    assert azure.applications == []
    found = control_plane.request("GET", f"/api/v1/namespaces/{plain_namespace}/serviceaccounts")["items"]
    assert "web" not in [item["metadata"]["name"] for item in found]


def test_refused_by_the_cluster(azwi: Azwi, microsoft: tuple[Azure, Entra]) -> None:
    """A ServiceAccount that the API server would reject is reported before anything is created in Azure."""
    azure, _ = microsoft
    done = create(azwi, azure, "not-there")
    assert done.exit_code == 1
    assert "kubectl create namespace not-there" in done.stderr
    misnamed = azwi("sa", "create", "--service-account-name=Not_A_Name", *as_admin(azure))
    assert misnamed.exit_code == 2
    assert "RFC 1123" in misnamed.stderr
    assert azure.writes() == []


def test_token_of_an_account_without_identity(plain_namespace: str, azwi: Azwi, microsoft: tuple[Azure, Entra]) -> None:
    """An account without a client id, and a missing one, are reported before Entra is asked."""
    _, login = microsoft
    bare = azwi("token", "exchange", f"--namespace={plain_namespace}", "--service-account=app")
    assert bare.exit_code == 1
    assert names.CLIENT_ID in bare.stderr
    missing = azwi("token", "exchange", f"--namespace={plain_namespace}", "--service-account=none")
    assert '"none" not found' in missing.stderr
    assert login.exchanges == []


def test_sync_in_the_cluster(
    control_plane: ControlPlane,
    namespace: str,
    azwi: Azwi,
    microsoft: tuple[Azure, Entra],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With the rights of the example's account alone `azwi sync` adds what accounts need, and Entra takes it."""
    azure, _ = microsoft
    manifests = [*yaml.safe_load_all((ROOT / "examples" / "sync-cronjob.yaml").read_text())]
    system = manifests[0]["metadata"]["namespace"]
    control_plane.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": system}}, *manifests)
    client_id = azure.add_identity("shop-web")["properties"]["clientId"]
    control_plane.create_service_account(namespace, "web", {names.CLIENT_ID: client_id})
    container = manifests[-1]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    assert parsed(container["command"][1:])["owner"] == "cluster"
    kubeconfig = control_plane.kubeconfig_for(system, "azwi-sync")
    until(lambda: control_plane.may("list", "serviceaccounts", "--all-namespaces", kubeconfig=kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    done = azwi("sync", "-n", namespace, "--prune", "--owner=cluster", *as_admin(azure))
    assert f"  + {namespace}/web\n" in done.stdout, done.output
    monkeypatch.setenv("KUBECONFIG", str(control_plane.kubeconfig))
    exchanged = azwi("token", "exchange", "-n", namespace, "--service-account=web", f"--tenant-id={azure.tenant}")
    assert exchanged.exit_code == 0, exchanged.output
