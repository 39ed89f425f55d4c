"""Identity bindings, on snapshots; with an API server in tests/cluster/doctor."""

from dataclasses import replace

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import FederatedCredential
from azwi_cli.cluster.kube import ApiError
from azwi_cli.commands.doctor.findings import Code
from azwi_cli.commands.doctor.reads import bindings
from azwi_cli.commands.doctor.reads.reader import Reader
from azwi_cli.commands.doctor.snapshot import HeldCredentials, LiveWorkload, Snapshot
from tests.azwi_cli.commands.doctor.snapshots import CLIENT_ID, account, examine, snapshot, workload

BINDING = {names.USE_BINDING: "true"}
ACCOUNTS = {("shop", "app"): account()}


def annotated(annotations: dict[str, str]) -> LiveWorkload:
    """Write a workload whose pods have annotations."""
    found = workload()
    template = found.manifest["spec"]["template"]
    metadata = {**template["metadata"], "annotations": annotations}
    manifest = {**found.manifest, "spec": {"template": {**template, "metadata": metadata}}}
    return replace(found, manifest=manifest, owner=manifest)


def bound(**fields: object) -> Snapshot:
    """Write a cluster with one workload that asks for a binding."""
    return snapshot(accounts=ACCOUNTS, workloads=[annotated(BINDING)], **fields)


def codes(seen: Snapshot) -> set[Code]:
    """Return what is found of bindings and of Entra."""
    found = {finding.code for finding in examine(seen).findings}
    return found & {Code.BINDING_NOT_SET_UP, Code.BINDING_FORBIDDEN, Code.CREDENTIAL_MISSING}


def test_set_up() -> None:
    """A webhook without a token proxy is a problem only where a pod asks for it, and where that is known."""
    assert codes(bound(has_token_proxy=False)) == {Code.BINDING_NOT_SET_UP}
    assert codes(bound(has_token_proxy=True)) == codes(bound()) == set()
    assert codes(snapshot(accounts=ACCOUNTS, workloads=[workload()], has_token_proxy=False)) == set()


def test_allowed() -> None:
    """An account that may not use its identity gets the ClusterRole that AKS documents."""
    seen = bound(has_token_proxy=True, binding_allowed={("shop", "app"): False})
    [finding] = examine(seen).findings
    assert finding.code is Code.BINDING_FORBIDDEN
    assert f'"apiGroups":["cid.wi.aks.azure.com"],"resources":["{CLIENT_ID}"]' in finding.fix
    assert codes(bound(has_token_proxy=True, binding_allowed={("shop", "app"): True})) == set()


def test_no_credential_is_needed() -> None:
    """A binding has a federated credential of its own issuer: none for the account's subject is missed."""
    held = {CLIENT_ID: HeldCredentials(CLIENT_ID, "managed identity shop", (), [_binding_credential()])}
    assert codes(bound(has_token_proxy=True, held=held)) == set()
    assert Code.CREDENTIAL_MISSING in codes(bound(has_token_proxy=False, held=held))
    two = [annotated({**BINDING, names.SECOND_AUDIENCE: names.DEFAULT_AUDIENCE})]
    direct = snapshot(accounts=ACCOUNTS, workloads=two, has_token_proxy=True, held=held)
    assert codes(direct) == {Code.CREDENTIAL_MISSING}


def _binding_credential() -> FederatedCredential:
    name = "aks-identity-binding"
    return FederatedCredential(name, name, f"https://ib.oic.prod-aks.azure.com/tenant/{CLIENT_ID}", "x", ("y",))


class Cluster:
    """Answers reviews."""

    def __init__(self, *, allowed: bool, refused: bool = False) -> None:
        self.allowed = allowed
        self.refused = refused
        self.asked: list[JsonObject] = []

    def create(self, _: str, body: JsonObject) -> JsonObject:
        """Answer one."""
        if self.refused:
            raise ApiError(403, "Forbidden", "no")
        self.asked.append(body["spec"])
        return {"status": {"allowed": self.allowed}}


def test_review() -> None:
    """The review is of the account with its groups, once for each account; where it may not be made that is a gap."""
    cluster = Cluster(allowed=False)
    reader = Reader(cluster)  # type: ignore[arg-type]
    assert bindings.read(reader, bound()).binding_allowed == {("shop", "app"): False}
    [spec] = cluster.asked
    assert spec["user"] == "system:serviceaccount:shop:app"
    assert "system:serviceaccounts:shop" in spec["groups"]
    assert spec["resourceAttributes"]["resource"] == CLIENT_ID
    reader = Reader(Cluster(allowed=False, refused=True))  # type: ignore[arg-type]
    assert bindings.read(reader, bound()).binding_allowed == {}
    assert reader.unreadable[0].needs == "permission to create subjectaccessreviews"
