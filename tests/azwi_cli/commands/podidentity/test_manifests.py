"""The manifests that migrate a workload."""

import copy

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.podidentity import manifests
from azwi_cli.commands.podidentity.bindings import POD_LABEL, AzureIdentity
from azwi_cli.commands.podidentity.workloads import LabelledWorkload
from azwi_cli.offline.owners import pod_of
from tests.azwi_cli.commands.podidentity.objects import CLIENT, identity, workload


def migrated(live: JsonObject, proxy_port: int = names.DEFAULT_PROXY_PORT) -> JsonObject:
    """Return the manifest of a live workload."""
    before = copy.deepcopy(live)
    made = manifests.workload(LabelledWorkload(live, {}, "shop"), "app", proxy_port)
    assert live == before
    return made


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "Job", "CronJob", "Pod"])
def test_opted_in(kind: str) -> None:
    """The pods opt in, get the proxy and their ServiceAccount, and the old label is gone."""
    pod = pod_of(migrated(workload(kind, serviceAccount="default", serviceAccountName="default")))
    assert pod["metadata"]["labels"] == {"app": "web", names.USE_LABEL: "true"}
    assert pod["metadata"]["annotations"][names.INJECT_PROXY] == "true"
    assert names.PROXY_PORT not in pod["metadata"]["annotations"]
    assert pod["spec"]["serviceAccountName"] == "app"
    assert "serviceAccount" not in pod["spec"]


def test_port() -> None:
    """Another port is asked for by its annotation."""
    assert pod_of(migrated(workload(), 8080))["metadata"]["annotations"][names.PROXY_PORT] == "8080"


def test_past() -> None:
    """Nothing is left of what the cluster wrote; the author's own stays."""
    made = migrated(workload())
    assert set(made) == {"apiVersion", "kind", "metadata", "spec"}
    assert made["metadata"] == {"name": "web", "namespace": "shop", "annotations": {"own": "kept"}}


def test_job() -> None:
    """A Job's generated selector goes; one that the author wrote stays."""
    assert "selector" not in migrated(workload("Job"))["spec"]
    manual = workload("Job")
    manual["spec"]["manualSelector"] = True
    assert "selector" in migrated(manual)["spec"]


def test_pod() -> None:
    """A pod is bound to no node and has no volume of the API token's."""
    volume: JsonObject = {"name": "kube-api-access-abcde"}
    made = migrated(
        workload(
            "Pod",
            nodeName="node",
            volumes=[volume, {"name": "own"}],
            containers=[{"name": "app", "volumeMounts": [{**volume, "mountPath": "/a"}, {"name": "own"}]}],
        )
    )
    assert "nodeName" not in made["spec"]
    assert made["spec"]["volumes"] == [{"name": "own"}]
    assert made["spec"]["containers"][0]["volumeMounts"] == [{"name": "own"}]


@pytest.mark.parametrize(
    "selector",
    [
        {"matchLabels": {POD_LABEL: "shop"}},
        {"matchExpressions": [{"key": POD_LABEL, "operator": "Exists"}]},
        {POD_LABEL: "shop"},
    ],
)
def test_label_in_the_selector(selector: JsonObject) -> None:
    """A label that the workload finds its pods by stays on them."""
    live = workload()
    live["spec"]["selector"] = selector
    assert pod_of(migrated(live))["metadata"]["labels"][POD_LABEL] == "shop"


@pytest.mark.parametrize(
    ("raw", "tenant", "expiration", "expected"),
    [
        (identity(), "", 3600, {names.CLIENT_ID: CLIENT}),
        (identity(), "t", 7200, {names.CLIENT_ID: CLIENT, names.TENANT_ID: "t", names.TOKEN_EXPIRATION: "7200"}),
        (identity(tenantID="own"), "", 3600, {names.CLIENT_ID: CLIENT, names.TENANT_ID: "own"}),
    ],
)
def test_account(raw: JsonObject, tenant: str, expiration: int, expected: dict[str, str]) -> None:
    """A ServiceAccount has our annotations and nothing else, so that applying it leaves the rest alone."""
    made = manifests.account("shop", "app", AzureIdentity.parse(raw), tenant, expiration)
    assert made == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "app", "namespace": "shop", "annotations": expected},
    }
