"""The command line's client, against a real API server."""

from pathlib import Path

import pytest

from azwi_cli.cluster import kube
from azwi_cli.cluster.kube import ApiError, Cluster, ClusterTarget, path
from azwi_cli.console.errors import CommandError
from testbed.cluster.control_plane import ControlPlane, write_kubeconfig
from testbed.processes import free_ports


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Cluster:
    """Connect as the administrator."""
    return Cluster.connect(ClusterTarget(kubeconfig=str(control_plane.kubeconfig)))


@pytest.fixture
def space(control_plane: ControlPlane) -> str:
    """Create a namespace with the accounts `app` and `default`."""
    created = control_plane.create_namespace()
    control_plane.create_service_account(created, "app", {"somebody": "else"})
    return created


def test_objects(cluster: Cluster, space: str) -> None:
    """An existing object is returned, a missing one is None, or an error with the API's status and reason."""
    assert cluster.get(path("v1", "serviceaccounts", space, "app"))["metadata"]["name"] == "app"
    assert cluster.find(path("v1", "serviceaccounts", space, "none")) is None
    with pytest.raises(ApiError, match='"none" not found') as refused:
        cluster.get(path("v1", "serviceaccounts", space, "none"))
    assert (refused.value.status, refused.value.reason) == (404, "NotFound")


def test_list_is_paged(cluster: Cluster, space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is read page by page, and each object says what it is."""
    monkeypatch.setattr(kube, "PAGE_SIZE", 1)
    found = list(cluster.list(path("v1", "serviceaccounts", space)))
    assert [(item["kind"], item["metadata"]["name"]) for item in found] == [
        ("ServiceAccount", "app"),
        ("ServiceAccount", "default"),
    ]


def test_apply(cluster: Cluster, space: str) -> None:
    """Server-side apply sets our fields and leaves those of others; a dry run changes nothing."""
    where = path("v1", "serviceaccounts", space, "app")
    body = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "app", "namespace": space, "annotations": {"ours": "1"}},
    }

    assert cluster.apply(where, body, dry_run=True)["metadata"]["annotations"]["ours"] == "1"
    assert "ours" not in cluster.get(where)["metadata"]["annotations"]

    cluster.apply(where, body)
    assert cluster.get(where)["metadata"]["annotations"] == {"somebody": "else", "ours": "1"}


def test_conflict(cluster: Cluster, space: str) -> None:
    """A field that another owns is not taken, unless by force."""
    where = path("v1", "serviceaccounts", space, "app")
    annotations = {"somebody": "ours"}
    body = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "app", "namespace": space, "annotations": annotations},
    }
    with pytest.raises(ApiError) as refused:
        cluster.apply(where, body)
    assert refused.value.status == 409

    assert cluster.apply(where, body, force=True)["metadata"]["annotations"] == annotations


def test_patch_and_delete(cluster: Cluster, space: str) -> None:
    """A merge patch is merged; what is deleted is gone, and deleting it again is no error."""
    where = path("v1", "serviceaccounts", space, "app")
    patched = cluster.patch(where, {"metadata": {"annotations": {"somebody": None, "more": "1"}}})
    assert patched["metadata"]["annotations"] == {"more": "1"}
    operations = [{"op": "replace", "path": "/metadata/annotations/more", "value": "2"}]
    patched = cluster.patch(where, operations, content_type="application/json-patch+json")
    assert patched["metadata"]["annotations"] == {"more": "2"}

    assert cluster.delete(where)
    assert not cluster.delete(where)


def test_token(cluster: Cluster, space: str) -> None:
    """A token for a ServiceAccount can be requested."""
    status = cluster.token(space, "app", "api://AzureADTokenExchange", 3600)
    assert status["token"].count(".") == 2


def test_forbidden(control_plane: ControlPlane, space: str) -> None:
    """A forbidden request is reported in the API server's words, with what to do."""
    kubeconfig = control_plane.kubeconfig_for(space, "app")
    with pytest.raises(ApiError, match="cannot list resource") as refused:
        list(Cluster.connect(ClusterTarget(kubeconfig=str(kubeconfig))).list(path("v1", "pods")))
    assert refused.value.status == 403
    assert "permission" in refused.value.hint


def test_namespace(control_plane: ControlPlane, tmp_path: Path) -> None:
    """The namespace is the command line's, else the context's, else default."""
    file = tmp_path / "kubeconfig"
    file.write_text(
        control_plane.kubeconfig.read_text().replace('"cluster": "test",', '"cluster":"test","namespace":"x",')
    )
    assert Cluster.connect(ClusterTarget(kubeconfig=str(file), namespace="y")).namespace == "y"
    assert Cluster.connect(ClusterTarget(kubeconfig=str(file))).namespace == "x"
    assert Cluster.connect(ClusterTarget(kubeconfig=str(control_plane.kubeconfig))).namespace == "default"


def test_wrong_authority(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A server whose certificate is not trusted is not spoken to."""
    other = control_plane.directory / "accounts.crt"
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", control_plane.url, other, {"token": "none"})
    with pytest.raises(CommandError, match="certificate verify failed"):
        Cluster.connect(ClusterTarget(kubeconfig=str(kubeconfig))).get("/version")


def test_nobody_answers(control_plane: ControlPlane, tmp_path: Path) -> None:
    """A server that is not there is named, with what to look at."""
    url = f"https://127.0.0.1:{free_ports(1)[0]}"
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", url, control_plane.ca_file, {"token": "none"})
    with pytest.raises(CommandError, match="Connection refused") as refused:
        Cluster.connect(ClusterTarget(kubeconfig=str(kubeconfig))).get("/version")
    assert url in refused.value.message
    assert "--context" in refused.value.hint
