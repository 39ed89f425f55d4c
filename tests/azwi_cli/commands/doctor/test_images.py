"""Image pulls with a ServiceAccount's token, on snapshots; with an API server in tests/cluster/doctor."""

from collections.abc import Mapping
from typing import Any

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.cluster.kube import ApiError
from azwi_cli.commands.doctor.findings import Code
from azwi_cli.commands.doctor.reads import images
from azwi_cli.commands.doctor.reads.images import ACR_CLIENT_ID, ACR_TENANT_ID
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import Snapshot
from tests.azwi_cli.commands.doctor.snapshots import CLIENT_ID, account, annotated, examine, snapshot, workload

KEY = ("shop", "app")
OF_AKS = {ACR_CLIENT_ID: CLIENT_ID}
OF_ENTRA = {**OF_AKS, ACR_TENANT_ID: CLIENT_ID}
CODES = {Code.IMAGE_PULL_FORBIDDEN, Code.IMAGE_PULL_INCOMPLETE, Code.IMAGE_PULL_UNSUPPORTED}


def seen(annotations: Mapping[str, str], *audiences: str, **fields: Any) -> Snapshot:  # noqa: ANN401  fields
    """Write a cluster with a workload whose account is annotated, and the audiences that nodes may ask for."""
    own = account(annotations={names.CLIENT_ID: CLIENT_ID, **annotations})
    given = {"accounts": {KEY: own}, "workloads": [workload()], "image_audiences": {KEY: frozenset(audiences)}}
    return snapshot(**{**given, **fields})


def codes(found: Snapshot) -> list[Code]:
    """Return what is found of image pulls."""
    return [finding.code for finding in examine(found).findings if finding.code in CODES]


def test_audience_of_aks() -> None:
    """With the client id alone the audience is that of identity bindings, and nodes need a right for it."""
    [finding] = [one for one in examine(seen(OF_AKS)).findings if one.code in CODES]
    assert finding.code is Code.IMAGE_PULL_FORBIDDEN
    assert f'"resources":["{names.BINDING_AUDIENCE}"],"resourceNames":["app"]' in finding.fix
    assert codes(seen(OF_AKS, names.BINDING_AUDIENCE)) == []
    assert codes(seen(OF_AKS, names.DEFAULT_AUDIENCE)) == [Code.IMAGE_PULL_FORBIDDEN]


def test_audience_of_the_pods_volumes() -> None:
    """A node may ask for the audiences of a pod's volumes, so the webhook's pods need no right for Entra's."""
    assert codes(seen(OF_ENTRA)) == []
    assert codes(seen(OF_ENTRA, workloads=[workload(labels={})])) == [Code.IMAGE_PULL_FORBIDDEN]
    assert codes(seen(OF_ENTRA, names.DEFAULT_AUDIENCE, workloads=[workload(labels={})])) == []
    bound = annotated({names.USE_BINDING: "true"})
    assert codes(seen(OF_AKS, workloads=[bound], has_token_proxy=True)) == []


def test_nothing_asked() -> None:
    """What could not be asked is not found, and without a workload nothing is wrong."""
    assert codes(seen(OF_AKS, image_audiences={})) == codes(seen(OF_AKS, workloads=[])) == []


def test_incomplete() -> None:
    """A tenant without a client id, a name in its place, and annotations on the pods are reported."""
    assert codes(seen({ACR_TENANT_ID: CLIENT_ID}, names.DEFAULT_AUDIENCE)) == [Code.IMAGE_PULL_INCOMPLETE]
    assert codes(seen({ACR_CLIENT_ID: "orders"}, names.BINDING_AUDIENCE)) == [Code.IMAGE_PULL_INCOMPLETE]
    [finding] = [one for one in examine(seen({}, workloads=[annotated(OF_AKS)])).findings if one.code in CODES]
    assert finding.fix.startswith(
        f"kubectl -n shop annotate --overwrite serviceaccount app {ACR_CLIENT_ID}={CLIENT_ID}"
    )


def test_old_kubelets() -> None:
    """Kubelets before 1.34 do not request the tokens; a version that cannot be read is no reason."""
    kubelets = {"old": "v1.33.9", "new": "v1.34.0", "next": "v2.0.0", "odd": ""}
    found = seen(OF_ENTRA, kubelets=kubelets)
    [finding] = [one for one in examine(found).findings if one.code in CODES]
    assert (finding.code, finding.evidence) == (Code.IMAGE_PULL_UNSUPPORTED, ("old: v1.33.9",))
    assert codes(seen({}, kubelets=kubelets)) == []


class Cluster:
    """Answers reviews, and lists one node."""

    def __init__(self, *, refused: bool = False) -> None:
        self.refused = refused
        self.asked: list[JsonObject] = []

    def list(self, _: str, *, labels: str) -> list[JsonObject]:
        """List the nodes."""
        assert labels == ""
        return [{"metadata": {"name": "node"}, "status": {"nodeInfo": {"kubeletVersion": "v1.36.3"}}}]

    def create(self, _: str, body: JsonObject) -> JsonObject:
        """Answer one."""
        if self.refused:
            raise ApiError(403, "Forbidden", "no")
        self.asked.append(body["spec"])
        return {"status": {"allowed": body["spec"]["resourceAttributes"]["resource"] == names.DEFAULT_AUDIENCE}}


def test_read() -> None:
    """Nodes are asked about as the API server does, for annotated accounts only; a refusal is a gap."""
    cluster = Cluster()
    read = images.read(Reader(cluster), seen(OF_AKS))  # type: ignore[arg-type]
    assert read.image_audiences == {KEY: frozenset({names.DEFAULT_AUDIENCE})}
    assert read.kubelets == {"node": "v1.36.3"}
    spec = cluster.asked[0]
    assert (spec["user"], spec["groups"][0]) == ("system:node:azwi-doctor", "system:nodes")
    assert spec["resourceAttributes"] == {
        "group": "",
        "verb": "request-serviceaccounts-token-audience",
        "resource": names.DEFAULT_AUDIENCE,
        "namespace": "shop",
        "name": "app",
    }
    unused = Cluster()
    assert images.read(Reader(unused), seen({})).kubelets == {}  # type: ignore[arg-type]
    assert unused.asked == []
    reader = Reader(Cluster(refused=True))  # type: ignore[arg-type]
    assert images.read(reader, seen(OF_AKS)).image_audiences == {}
    assert reader.unreadable[0].needs == "permission to create subjectaccessreviews"
