"""Workloads and ServiceAccounts that do not say what they mean."""

import json
import re
import subprocess

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks import images
from azwi_cli.commands.doctor.reads.images import ACR_CLIENT_ID
from testbed.cluster.manifests import CLIENT_ID, USE, pod
from testbed.processes import until
from tests.cluster.support.patient import Patient, account, deployment

HOSTILE = 'it\'s $(touch pwned) `touch pwned`; "x"\nnext'


def test_healthy(patient: Patient) -> None:
    """Where all is well nothing is found, and what could not be looked at is reported."""
    patient.apply(deployment())
    patient.plane.create_pod(patient.namespace, pod(serviceAccountName="app"))
    document = patient.examined()
    assert document["findings"] == []
    assert [gap["what"] for gap in document["notLookedAt"]] == ["federated credentials"]
    assert document["outcome"] == "ok"
    done = patient.doctor()
    assert done.exit_code == 0
    assert re.search(r"^No problem found by \d+ checks; 1 check could not be made\.$", done.stdout, re.MULTILINE)


PROXY = {names.INJECT_PROXY: "true"}


def bounds(**limits: dict[str, str]) -> JsonObject:
    """Write a LimitRange for containers."""
    spec = {"limits": [{"type": "Container", **limits}]}
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "bounds"}, "spec": spec}


def other_kind(kind: str, labels: dict[str, str]) -> JsonObject:
    """Write a workload of another kind."""
    manifest = {**deployment(labels=labels), "kind": kind}
    if kind == "StatefulSet":
        manifest["spec"]["serviceName"] = "web"
    return manifest


def cron_job() -> JsonObject:
    """Write a CronJob whose pods do not take part."""
    template = deployment(labels={}, restartPolicy="Never")["spec"]["template"]
    spec = {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": {"template": template}}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "yearly"}, "spec": spec}


BINDING = {names.USE_BINDING: "true"}
APP = {"name": "app", "image": "app"}
CHAIN = names.ENV_TOKEN_CREDENTIALS
OWN = {"audience": names.DEFAULT_AUDIENCE, "expirationSeconds": 3600, "path": "token"}
OWN_TOKEN: JsonObject = {
    "containers": [
        {
            **APP,
            "env": [{"name": names.ENV_TOKEN_FILE, "value": "/var/own/token"}],
            "volumeMounts": [{"name": "own", "mountPath": "/var/own"}],
        }
    ],
    "volumes": [{"name": "own", "projected": {"sources": [{"serviceAccountToken": OWN}]}}],
}


# Each breaks the patient by what it applies: code, subject, manifests.
BROKEN: list[tuple[str, str, list[JsonObject]]] = [
    ("label-missing", "Deployment", [deployment(labels={})]),
    ("binding-forbidden", "ServiceAccount", [deployment(annotations={names.USE_BINDING: "true"})]),
    ("binding-misplaced", "Deployment", [account({names.CLIENT_ID: CLIENT_ID, **BINDING}), deployment()]),
    (
        "binding-default-credential",
        "Deployment",
        [deployment(annotations=BINDING, containers=[{**APP, "env": [{"name": CHAIN, "value": "prod"}]}])],
    ),
    ("wrong-audience", "Deployment", [deployment(annotations=BINDING, **OWN_TOKEN)]),
    ("image-pull-forbidden", "ServiceAccount", [account({ACR_CLIENT_ID: CLIENT_ID}), deployment(labels={})]),
    ("image-pull-incomplete", "Deployment", [deployment(annotations={ACR_CLIENT_ID: CLIENT_ID})]),
    ("label-missing", "Pod", [{**pod(labels={}, serviceAccountName="app")}]),
    ("label-misplaced", "Deployment", [deployment(labels={}, metadata={"labels": USE})]),
    ("label-misplaced", "Deployment", [deployment(labels={}, annotations=USE)]),
    ("label-misplaced", "Deployment", [account({names.CLIENT_ID: CLIENT_ID}, USE), deployment(labels={})]),
    ("label-not-true", "Deployment", [deployment(labels={names.USE_LABEL: "True"})]),
    ("near-miss", "ServiceAccount", [account({"azure.workload.identity/client_id": CLIENT_ID})]),
    ("near-miss", "Deployment", [deployment(annotations={"azure.workload.identity/skip_containers": HOSTILE})]),
    ("near-miss", "Deployment", [deployment(labels={"azure-workload-identity/use": "true"})]),
    ("wrong-object", "ServiceAccount", [account({}, {names.CLIENT_ID: CLIENT_ID})]),
    ("wrong-object", "ServiceAccount", [account({names.SKIP_CONTAINERS: HOSTILE}), deployment()]),
    ("wrong-object", "Deployment", [deployment(annotations={names.CLIENT_ID: CLIENT_ID})]),
    ("unknown-key", "ServiceAccount", [account({"azure.workload.identity/clinet": "x"})]),
    ("unknown-key", "Deployment", [deployment(annotations={"azure.workload.identity/what": HOSTILE})]),
    ("pod-refused", "Deployment", [deployment(annotations={names.INJECT_PROXY: "true", names.PROXY_PORT: "x"})]),
    (
        "pod-refused",
        "Deployment",
        [account({names.CLIENT_ID: CLIENT_ID, names.TOKEN_EXPIRATION: "5"}), deployment()],
    ),
    ("account-missing", "Deployment", [deployment(serviceAccountName="late")]),
    ("near-miss", "ServiceAccount", [account({"azure.workload.identity/client_id": CLIENT_ID}), deployment()]),
    ("client-id-invalid", "ServiceAccount", [account({names.CLIENT_ID: f"{{{CLIENT_ID}}}"}), deployment()]),
    ("client-id-invalid", "ServiceAccount", [account({names.CLIENT_ID: f'"{CLIENT_ID}"'})]),
    ("pod-refused", "Deployment", [deployment(annotations={**PROXY, names.PROXY_MODE: "iptables"})]),
    ("pod-refused", "Deployment", [deployment(annotations={**PROXY, names.PROXY_CPU_LIMIT: "lots"})]),
    ("pod-refused", "Deployment", [deployment(annotations={names.TOKEN_EXPIRATION: "60"})]),
    ("pod-refused", "Deployment", [deployment(annotations=PROXY, hostNetwork=True)]),
    (
        "proxy-out-of-bounds",
        "Deployment",
        [bounds(min={"cpu": "100m", "memory": "90Mi"}), deployment(annotations=PROXY)],
    ),
    (
        "proxy-out-of-bounds",
        "Deployment",
        [bounds(max={"cpu": "200m", "memory": "48Mi"}), deployment(annotations=PROXY)],
    ),
    ("proxy-out-of-bounds", "Deployment", [bounds(maxLimitRequestRatio={"cpu": "4"}), deployment(annotations=PROXY)]),
    ("label-missing", "StatefulSet", [other_kind("StatefulSet", labels={})]),
    ("label-missing", "DaemonSet", [other_kind("DaemonSet", labels={})]),
    ("label-missing", "CronJob", [cron_job()]),
    (
        "token-not-rotated",
        "Deployment",
        [
            deployment(
                containers=[
                    {
                        "name": "app",
                        "image": "app",
                        "volumeMounts": [
                            {
                                "name": "token",
                                "mountPath": "/var/run/secrets/azure/tokens/azure-identity-token",
                                "subPath": "azure-identity-token",
                            }
                        ],
                    }
                ],
                volumes=[
                    {
                        "name": "token",
                        "projected": {
                            "sources": [
                                {
                                    "serviceAccountToken": {
                                        "audience": names.DEFAULT_AUDIENCE,
                                        "expirationSeconds": 3600,
                                        "path": "azure-identity-token",
                                    }
                                }
                            ]
                        },
                    }
                ],
            )
        ],
    ),
    (
        "egress-blocked",
        "NetworkPolicy",
        [
            deployment(),
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": "closed"},
                "spec": {
                    "podSelector": {"matchLabels": {"app": "web"}},
                    "policyTypes": ["Egress"],
                    "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}],
                },
            },
        ],
    ),
]


# What each of them is, in the same order.
SETUPS = [
    "a Deployment without the label, whose account has a client id",
    "an identity binding whose account may not use its identity",
    "the annotation for an identity binding on the ServiceAccount",
    "an identity binding and AZURE_TOKEN_CREDENTIALS",
    "an identity binding and a token file of the pod's own",
    "an account for image pulls whose token nodes may not request",
    "the annotation for image pulls on the pods",
    "a pod without the label, whose account has a client id",
    "the label on the Deployment instead of its pods",
    "the label as an annotation",
    "the label on the ServiceAccount",
    "the label with the value True",
    "client_id on a ServiceAccount",
    "skip_containers on a pod template, with a hostile value",
    "a label with azure-workload-identity instead of azure.workload.identity",
    "the client id as a label of the ServiceAccount",
    "a pod annotation on the ServiceAccount",
    "the client id on the pods",
    "an unknown annotation on a ServiceAccount",
    "an unknown annotation on a pod template, with a hostile value",
    "a proxy port that is not a number",
    "a token lifetime of 5 seconds on the ServiceAccount",
    "a ServiceAccount that does not exist",
    "client_id on the ServiceAccount of a Deployment that takes part",
    "a client id in braces",
    "a client id in quotes",
    "a proxy mode that does not exist",
    "a CPU limit of the proxy that is not a quantity",
    "a token lifetime of 60 seconds on the pods",
    "the proxy in a pod on the host's network",
    "a LimitRange with a minimum above the proxy's requests",
    "a LimitRange with a maximum below the proxy's limits",
    "a LimitRange with a ratio that the proxy exceeds",
    "a StatefulSet without the label",
    "a DaemonSet without the label",
    "a CronJob without the label",
    "the token mounted by subPath",
    "a NetworkPolicy that lets pods reach private addresses only",
]


@pytest.mark.parametrize(("code", "kind", "manifests"), BROKEN, ids=SETUPS)
def test_broken(patient: Patient, code: str, kind: str, manifests: list[JsonObject]) -> None:
    """What is written wrongly is found, and gone once the printed command has run."""
    patient.apply(*manifests)
    patient.fixed(code, kind)


def test_unused_binding(patient: Patient) -> None:
    """A right of an account that uses no binding any more is revoked, and that of one that does is kept."""
    patient.apply(deployment(annotations=BINDING), account({}, name="old"))
    patient.run(patient.one("binding-forbidden")["fix"])
    grant = f"azwi-binding-{patient.namespace}-app"
    subject = f"--serviceaccount={patient.namespace}:old"
    patient.plane.kubectl("create", "clusterrolebinding", f"{grant}-old", f"--clusterrole={grant}", subject)
    try:
        patient.fixed("binding-unused", f"ClusterRoleBinding {grant}-old")
        patient.wait_until_gone("binding-forbidden")
    finally:
        for kind, name in (
            ("clusterrolebinding", f"{grant}-old"),
            ("clusterrolebinding", grant),
            ("clusterrole", grant),
        ):
            patient.plane.kubectl("delete", kind, name, "--ignore-not-found")


def test_old_kubelet(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose kubelet is too old for image pulls by token is found; upgraded, it is not."""
    name = f"{patient.namespace}-node"
    patient.apply(account({ACR_CLIENT_ID: CLIENT_ID}))
    patient.plane.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    try:
        status = {"status": {"nodeInfo": {"kubeletVersion": "v1.33.9"}}}
        path = f"/api/v1/nodes/{name}/status"
        patient.plane.request("PATCH", path, status, content_type="application/merge-patch+json")
        finding = patient.one("image-pull-unsupported", "ServiceAccount")
        patient.cannot_run(finding, "it upgrades nodes of AKS")
        monkeypatch.setattr(images, "MIN_MINOR", 33)
        assert patient.found("image-pull-unsupported") == []
    finally:
        patient.plane.kubectl("delete", "node", name)


def test_misspelt_client_id(patient: Patient) -> None:
    """A misspelt client id is one finding, and after its fix nothing else is wrong."""
    patient.apply(account({"azure.workload.identity/client_id": CLIENT_ID}), deployment())
    [finding] = patient.examined()["findings"]
    assert finding["code"] == "near-miss"
    patient.run(finding["fix"])
    assert patient.examined()["findings"] == []


def test_limit_range(patient: Patient) -> None:
    """What the fix sets is what the API server then admits."""
    least = {"cpu": "100m", "memory": "90Mi"}
    patient.apply(
        bounds(
            min=least, default={"cpu": "500m", "memory": "256Mi"}, defaultRequest={"cpu": "100m", "memory": "128Mi"}
        ),
        deployment(annotations=PROXY),
    )
    assert "minimum" in created(patient).stderr
    patient.fixed("proxy-out-of-bounds")
    assert created(patient).returncode == 0


FITTING = {"cpu": "200m", "memory": "128Mi"}
SMALL: list[tuple[str, JsonObject]] = [
    ("ResourceQuota", {"hard": {"requests.cpu": "205m"}}),
    ("ResourceQuota", {"hard": {"requests.cpu": "2", "limits.memory": "160Mi"}}),
    ("LimitRange", {"limits": [{"type": "Pod", "max": {"memory": "150Mi"}}]}),
]
SMALL_SETUPS = [
    "a ResourceQuota without room for the proxy's CPU request",
    "a ResourceQuota without room for the proxy's memory limit",
    "a LimitRange for pods that are too large with the proxy",
]


@pytest.mark.parametrize(("kind", "spec"), SMALL, ids=SMALL_SETUPS)
def test_no_room(patient: Patient, kind: str, spec: JsonObject) -> None:
    """What has no room for the proxy is found, and after the fix the API server admits the pods."""
    app = {"name": "app", "image": "app", "resources": {"requests": FITTING, "limits": FITTING}}
    asks = {**PROXY, names.PROXY_MODE: "environment"}
    bound = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "team"}, "spec": spec}
    patient.apply(bound, deployment(annotations=asks, containers=[app]))
    count_quota(patient, kind)
    until(lambda: created(patient).returncode == 1)
    finding = patient.one("proxy-out-of-bounds", "Deployment")
    assert finding["evidence"][0].startswith(f"{kind} team: ")
    patient.run(finding["fix"])
    count_quota(patient, kind)
    until(lambda: created(patient).returncode == 0)
    assert patient.found("proxy-out-of-bounds") == []


def count_quota(patient: Patient, kind: str) -> None:
    """Do what the controller of quotas does."""
    if kind == "ResourceQuota":
        hard = patient.get("resourcequotas", "team")["spec"]["hard"]
        path = f"/api/v1/namespaces/{patient.namespace}/resourcequotas/team/status"
        status = {"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}}
        patient.plane.request("PATCH", path, status, content_type="application/merge-patch+json")


def test_moved_key_keeps_its_value(patient: Patient) -> None:
    """A misspelt annotation's value is carried over byte for byte, whatever is in it."""
    patient.apply(deployment(annotations={"azure.workload.identity/skip_containers": HOSTILE}))
    patient.fixed("near-miss")
    template = patient.get("deployments", "web", "apis/apps/v1")["spec"]["template"]
    assert template["metadata"]["annotations"] == {names.SKIP_CONTAINERS: HOSTILE}


def test_proxy_forbidden(patient: Patient) -> None:
    """A proxy that needs NET_ADMIN below level baseline is reported, and after its command pods are admitted."""
    patient.apply(deployment(annotations={names.INJECT_PROXY: "true"}))
    level = "pod-security.kubernetes.io/enforce=baseline"
    patient.plane.kubectl("label", "namespace", patient.namespace, level)
    until(lambda: "forbidden" in created(patient).stderr)
    patient.fixed("proxy-forbidden")
    until(lambda: created(patient).returncode == 0)


def created(patient: Patient) -> "subprocess.CompletedProcess[str]":
    """Create a pod of the Deployment in a dry run."""
    template = patient.get("deployments", "web", "apis/apps/v1")["spec"]["template"]
    manifest = {"apiVersion": "v1", "kind": "Pod", **template}
    manifest["metadata"] = {**manifest["metadata"], "name": "web-1"}
    return patient.plane.kubectl(
        "create", "-n", patient.namespace, "--dry-run=server", "-f", "-", stdin=json.dumps(manifest)
    )


def test_taken_volume(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no annotation causes is edited by a person."""
    patient.apply(deployment(volumes=[{"name": names.VOLUME, "emptyDir": {}}]))
    monkeypatch.setenv("KUBE_EDITOR", f"sed -i s/{names.VOLUME}/scratch/")
    assert patient.fixed("pod-refused")["fix"].endswith(" edit deployment web")
