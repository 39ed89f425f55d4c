"""Identity bindings, on snapshots; with an API server in tests/cluster/doctor."""

from dataclasses import replace
from typing import Any

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.azure.federation import FederatedCredential
from azwi_cli.cluster.kube import ApiError
from azwi_cli.commands.doctor.findings import Code
from azwi_cli.commands.doctor.reads import bindings
from azwi_cli.commands.doctor.reads.images import ACR_CLIENT_ID
from azwi_cli.commands.doctor.reads.reader import Reader, Scope
from azwi_cli.commands.doctor.snapshot import BindingGrant, HeldCredentials, Snapshot
from tests.azwi_cli.commands.doctor.snapshots import (
    CLIENT_ID,
    account,
    annotated,
    examine,
    mapped,
    snapshot,
    workload,
)
from webhook.admission.policy import CustomEndpoint

BINDING = {names.USE_BINDING: "true"}
ACCOUNTS = {("shop", "app"): account()}


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


def found(seen: Snapshot, *wanted: Code) -> list[str]:
    """Return the fixes of findings with these codes."""
    return [finding.fix for finding in examine(seen).findings if finding.code in wanted]


def test_misplaced() -> None:
    """The annotation as a label of the pods, on the Deployment or on the ServiceAccount is moved to the pods."""
    key = names.USE_BINDING
    of_account = account(annotations={names.CLIENT_ID: CLIENT_ID, key: "true"})
    on_account = snapshot(accounts={("shop", "app"): of_account}, workloads=[workload()])
    [fix] = found(on_account, Code.BINDING_MISPLACED)
    assert f'"annotations":{{"{key}":"true"}}' in fix
    assert fix.endswith(f"annotate --overwrite serviceaccount app {key}-")
    assert not found(on_account, Code.UNKNOWN_KEY)
    labelled = workload({names.USE_LABEL: "true", key: "true"})
    [fix] = found(snapshot(accounts=ACCOUNTS, workloads=[labelled]), Code.BINDING_MISPLACED)
    assert f'"labels":{{"{key}":null}}' in fix
    deployment = workload()
    deployment.manifest["metadata"]["annotations"] = {key: "true"}
    assert found(snapshot(accounts=ACCOUNTS, workloads=[deployment]), Code.BINDING_MISPLACED)
    deployment.manifest["metadata"]["annotations"] = {key: "false"}
    assert not found(snapshot(accounts=ACCOUNTS, workloads=[deployment]), Code.BINDING_MISPLACED)
    unused = snapshot(accounts={("shop", "app"): of_account})
    assert (len(found(unused, Code.UNKNOWN_KEY)), found(unused, Code.BINDING_MISPLACED)) == (1, [])


def with_variable(name: str, value: str, annotations: dict[str, str], **fields: Any) -> Snapshot:  # noqa: ANN401  fields
    """Write a cluster whose workload sets a variable."""
    containers = [{"name": "app", "env": [{"name": "A", "value": "b"}, {"name": name, "value": value}]}]
    workloads = [annotated(annotations, containers=containers)]
    return snapshot(**{"accounts": ACCOUNTS, "workloads": workloads, "has_token_proxy": True, **fields})


def test_default_credential() -> None:
    """DefaultAzureCredential does not use a binding; the fix gives it the proxy as a managed identity."""
    name, code = names.ENV_TOKEN_CREDENTIALS, Code.BINDING_DEFAULT_CREDENTIAL
    [fix] = found(with_variable(name, "prod", BINDING), code)
    assert '/spec/containers/0/env/1/value","value":"ManagedIdentityCredential"' in fix
    assert 'inject-proxy-sidecar","value":"true"' in fix
    proxied = {**BINDING, names.INJECT_PROXY: "true"}
    [fix] = found(with_variable(name, "WorkloadIdentityCredential", proxied), code)
    assert "inject-proxy-sidecar" not in fix
    assert found(with_variable(name, "managedidentitycredential", proxied), code) == []
    assert found(with_variable(name, "", BINDING), code) == found(with_variable(name, "prod", {}), code) == []
    assert found(with_variable("OTHER", "prod", BINDING), code) == []


def grant(*accounts: str) -> BindingGrant:
    """Write a ClusterRoleBinding."""
    subjects = [{"kind": "ServiceAccount", "namespace": "shop", "name": name} for name in accounts]
    subjects.append({"kind": "Group", "name": "team"})
    return BindingGrant({"metadata": {"name": "grant"}, "subjects": subjects}, (CLIENT_ID,))


def test_unused() -> None:
    """A right of accounts without a binding is a leftover, that of others and of groups is not."""
    both = bound(has_token_proxy=True, binding_grants=[grant("app", "gone")], accounts_of="")
    [fix] = found(both, Code.BINDING_UNUSED)
    assert fix.endswith('patch clusterrolebinding grant --type=json -p \'[{"op":"remove","path":"/subjects/1"}]\'')
    assert found(bound(has_token_proxy=True, binding_grants=[grant("app")], accounts_of=""), Code.BINDING_UNUSED) == []
    only = {"metadata": {"name": "old"}, "subjects": [{"kind": "ServiceAccount", "namespace": "shop", "name": "x"}]}
    old = snapshot(binding_grants=[BindingGrant(only, (CLIENT_ID,))], accounts_of="shop")
    assert found(old, Code.BINDING_UNUSED) == ["kubectl delete clusterrolebinding old"]
    elsewhere = snapshot(binding_grants=[BindingGrant(only, (CLIENT_ID,))], accounts_of="other")
    unknown = snapshot(binding_grants=[BindingGrant(only, (CLIENT_ID,))])
    assert found(elsewhere, Code.BINDING_UNUSED) == found(unknown, Code.BINDING_UNUSED) == []
    pulls = account("x", {ACR_CLIENT_ID: CLIENT_ID})
    for_images = snapshot(
        binding_grants=[BindingGrant(only, (CLIENT_ID,))], accounts_of="shop", accounts={("shop", "x"): pulls}
    )
    assert found(for_images, Code.BINDING_UNUSED) == []


class Roles(Cluster):
    """Lists ClusterRoles and their bindings."""

    def __init__(self) -> None:
        super().__init__(allowed=True)
        self.listed: list[str] = []

    def list(self, path: str, *, labels: str) -> list[JsonObject]:
        """List what a path names."""
        assert labels == ""
        self.listed.append(path.rpartition("/")[2])
        if path.endswith("clusterroles"):
            rule = {"apiGroups": ["cid.wi.aks.azure.com"], "resources": [CLIENT_ID], "verbs": ["use-managed-identity"]}
            every = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
            return [
                {"metadata": {"name": "use"}, "rules": [rule]},
                {"metadata": {"name": "admin"}, "rules": [every]},
                {"metadata": {"name": "none"}, "rules": None},
            ]
        bindings = ({"metadata": {"name": name}, "roleRef": {"name": name}} for name in ("use", "admin"))
        return [*bindings]


def test_grants() -> None:
    """Rights are read only where bindings are used or set up, and not for one pod or account."""
    read = bindings.read_grants(Reader(Roles()), bound())  # type: ignore[arg-type]
    assert [(one.name, one.client_ids, one.subjects) for one in read.binding_grants] == [("use", (CLIENT_ID,), ())]
    for scope, seen in ((Scope(), snapshot()), (Scope("shop", pod="web"), bound())):
        cluster = Roles()
        assert bindings.read_grants(Reader(cluster, scope), seen).binding_grants == ()  # type: ignore[arg-type]
        assert cluster.listed == []


def test_second_annotation_suffix() -> None:
    """The annotation is the one that the webhook is set up for."""
    policy = mapped()
    endpoint = CustomEndpoint(names.PREFIX + "use-other", "api://other", "https://proxy.test")
    seen = snapshot(policy=replace(policy, custom_endpoint=endpoint), accounts=ACCOUNTS, has_token_proxy=True)
    other = replace(seen, workloads=[annotated({names.PREFIX + "use-other": "true"})])
    assert other.audiences(other.workloads[0]) == ("api://other", "")
    assert [*other.bound()] == [*other.workloads]
    assert [*replace(seen, workloads=[annotated(BINDING)]).bound()] == []
