"""The three certificate modes."""

import base64
from typing import Final

import pytest

from azure_workload_identity.types import JsonObject
from testbed.upstream import chart as upstream
from tests.chart.helm import BASE, FULLNAME, NAMESPACE, Helm, flags, objects, of_kind, only, pod_spec, rendered, server

SECRET: Final = f"{FULLNAME}-server-cert"
PEM: Final = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
EXISTING: Final = {
    "certificates.mode": "existing-secret",
    "certificates.secretName": "mine",
    "certificates.caBundle": PEM,
}
EVERY_OPT_IN: Final = {"optIn": ["pod-label", "namespace-label", "service-account"]}


def bundles(manifests: list[JsonObject]) -> list[object]:
    """Return the caBundle of each entry of the webhook configuration, or None."""
    webhooks = only(manifests, "MutatingWebhookConfiguration")["webhooks"]
    return [webhook["clientConfig"].get("caBundle") for webhook in webhooks]


def test_self_managed(helm: Helm) -> None:
    """By default the Secret is rendered empty, nothing is mounted, and no entry has a caBundle."""
    manifests = rendered(helm, EVERY_OPT_IN)
    secret = only(manifests, "Secret")
    assert secret["metadata"]["name"] == SECRET == flags(manifests)["cert-secret"]
    assert not {"data", "stringData"} & secret.keys()
    assert bundles(manifests) == [None] * 3
    assert "volumes" not in pod_spec(manifests)
    assert "disable-cert-rotation" not in flags(manifests)


@pytest.mark.parametrize("values", [{}, EXISTING], ids=["self-managed", "existing-secret"])
def test_upstream_secret(helm: Helm, values: JsonObject) -> None:
    """Without access to the cluster v1.6.0's Secret is rendered without data, so that a GitOps tool does not prune it.

    Only a server that makes its own certificates prepares a rollback there.
    """
    manifests = rendered(helm, {**values, "upstreamNames": True})
    secret = only(manifests, "Secret", upstream.SECRET)
    assert secret["type"] == "Opaque"
    assert not {"data", "stringData"} & secret.keys()
    assert flags(manifests).get("upstream-cert-secret") == (None if values else upstream.SECRET)


def test_secret_of_its_own(helm: Helm) -> None:
    """A release that keeps its certificates in v1.6.0's Secret prepares no rollback there."""
    manifests = rendered(helm, {"upstreamNames": True, "certificates.secretName": upstream.SECRET})
    assert only(manifests, "Secret")["metadata"]["name"] == upstream.SECRET == flags(manifests)["cert-secret"]
    assert "upstream-cert-secret" not in flags(manifests)


def test_cert_manager(helm: Helm) -> None:
    """With cert-manager the release's own CA signs the Service's name, and cert-manager writes the caBundle."""
    manifests = rendered(helm, {"certificates.mode": "cert-manager"})
    assert [issuer["metadata"]["name"] for issuer in of_kind(manifests, "Issuer")] == [
        f"{FULLNAME}-selfsigned",
        f"{FULLNAME}-ca",
    ]
    authority = only(manifests, "Certificate", f"{FULLNAME}-ca")["spec"]
    assert (authority["isCA"], authority["duration"]) == (True, "8760h")
    leaf = only(manifests, "Certificate", FULLNAME)["spec"]
    assert leaf["dnsNames"][0] == f"{FULLNAME}.{NAMESPACE}.svc"
    assert leaf["issuerRef"]["name"] == f"{FULLNAME}-ca"
    assert leaf["duration"] == "2160h"
    configuration = only(manifests, "MutatingWebhookConfiguration")
    assert configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"] == f"{NAMESPACE}/{FULLNAME}"
    assert_mounted(manifests, leaf["secretName"])
    assert bundles(manifests) == [None]


def test_own_issuer(helm: Helm) -> None:
    """With the user's issuer there is a single certificate, signed by it."""
    issuer = {"name": "company", "kind": "ClusterIssuer", "group": "cert-manager.io"}
    manifests = rendered(helm, {"certificates.mode": "cert-manager", "certificates.certManager.issuerRef": issuer})
    assert of_kind(manifests, "Issuer") == []
    assert only(manifests, "Certificate")["spec"]["issuerRef"] == issuer


def test_existing_secret(helm: Helm) -> None:
    """The user's Secret is mounted, and every entry of the webhook configuration has the CA."""
    manifests = rendered(helm, {**EXISTING, **EVERY_OPT_IN})
    assert bundles(manifests) == [base64.b64encode(PEM.encode()).decode()] * 3
    assert_mounted(manifests, "mine")


def assert_mounted(manifests: list[JsonObject], name: str) -> None:
    """Check that the Secret is mounted where the server reads it, and none is rendered."""
    assert of_kind(manifests, "Secret") == []
    (volume,) = pod_spec(manifests)["volumes"]
    assert volume["secret"]["secretName"] == name
    assert [item["key"] for item in volume["secret"]["items"]] == ["tls.crt", "tls.key"]
    (mount,) = server(manifests)["volumeMounts"]
    assert mount == {"name": volume["name"], "mountPath": flags(manifests)["webhook-cert-dir"], "readOnly": True}


RULE: Final = {"verbs": ["get", "list", "watch"]}


def rules(manifests: list[JsonObject], kind: str) -> list[tuple[str, str, str]]:
    """Return the rules of a role as (resources, names, verbs)."""
    return [
        (" ".join(rule["resources"]), " ".join(rule.get("resourceNames", [])), " ".join(rule["verbs"]))
        for rule in only(manifests, kind)["rules"]
    ]


READ: Final = "get list watch"
CONFIGURATION: Final = f"azwi-{NAMESPACE}-{FULLNAME}"


@pytest.mark.parametrize(
    ("values", "cluster", "own"),
    [
        (
            {},
            [("mutatingwebhookconfigurations", CONFIGURATION, f"{READ} patch")],
            [("secrets", SECRET, f"{READ} update")],
        ),
        (
            {"rbac.createSecret": True},
            [("mutatingwebhookconfigurations", CONFIGURATION, f"{READ} patch")],
            [("secrets", SECRET, f"{READ} update"), ("secrets", "", "create")],
        ),
        (
            {"upstreamNames": True},
            [("mutatingwebhookconfigurations", upstream.CONFIGURATION, f"{READ} patch")],
            [("secrets", SECRET, f"{READ} update"), ("secrets", upstream.SECRET, "get patch")],
        ),
        ({"certificates.mode": "cert-manager"}, [("mutatingwebhookconfigurations", CONFIGURATION, READ)], []),
        (EXISTING, [("mutatingwebhookconfigurations", CONFIGURATION, READ)], []),
        (
            {**EXISTING, "identityMapping.existingConfigMap": "identities"},
            [("mutatingwebhookconfigurations", CONFIGURATION, READ)],
            [("configmaps", "identities", READ)],
        ),
    ],
    ids=["self-managed", "create-secret", "upstream-names", "cert-manager", "existing-secret", "mapping"],
)
def test_permissions(
    helm: Helm, values: JsonObject, cluster: list[tuple[str, str, str]], own: list[tuple[str, str, str]]
) -> None:
    """The roles grant what the mode needs, by name wherever RBAC allows it, and nothing more."""
    manifests = rendered(helm, values)
    assert rules(manifests, "ClusterRole") == [("serviceaccounts", "", READ), *cluster]
    assert rules(manifests, "Role") == [("events", "", "create"), *own]


POLICIES: Final = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


@pytest.mark.parametrize(
    ("values", "arguments", "limited"),
    [
        ({}, [], True),
        ({}, ["--kube-version=1.30.0"], True),
        ({}, ["--kube-version=1.29.14"], False),
        ({"rbac.limitToCaBundle": False}, [], False),
        (EXISTING, [], False),
    ],
)
def test_patch_is_limited(helm: Helm, values: JsonObject, arguments: list[str], *, limited: bool) -> None:
    """Where the server may patch its webhook configuration a policy limits it to the caBundle, from Kubernetes 1.30."""
    manifests = objects(helm.template(*arguments, values={**BASE, **values}))
    assert {manifest["kind"] for manifest in manifests} & POLICIES == (POLICIES if limited else set())
    for policy in of_kind(manifests, "ValidatingAdmissionPolicy"):
        account = f"system:serviceaccount:{NAMESPACE}:{FULLNAME}"
        assert account in policy["spec"]["matchConditions"][0]["expression"]


def test_client_ca(helm: Helm) -> None:
    """The CA of clients is mounted from the ConfigMap to where the server reads it."""
    manifests = rendered(helm, {"clientCAConfigMap": "api-server-ca"})
    (volume,) = pod_spec(manifests)["volumes"]
    (mount,) = server(manifests)["volumeMounts"]
    assert volume["configMap"] == {"name": "api-server-ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    assert mount["name"] == volume["name"]
    assert f"{mount['mountPath']}/ca.crt" == flags(manifests)["client-ca-file"]
