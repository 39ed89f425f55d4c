"""The objects of v1.6.0's chart, under its names, with the stand-in's program."""

import json
from pathlib import Path
from typing import Final

import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.upstream import server

NAMESPACE: Final = "azure-workload-identity-system"
RELEASE: Final = "workload-identity-webhook"
DEPLOYMENT: Final = "azure-wi-webhook-controller-manager"
ACCOUNT: Final = "azure-wi-webhook-admin"
SECRET: Final = server.SECRET
SERVICE: Final = server.SERVICE
CONFIGURATION: Final = server.CONFIGURATION
ROLE: Final = "azure-wi-webhook-manager-role"
BINDING: Final = "azure-wi-webhook-manager-rolebinding"
CONFIG: Final = "azure-wi-webhook-config"
PROGRAM: Final = "stand-in"
LABELS: Final = {
    "app": "workload-identity-webhook",
    "azure-workload-identity.io/system": "true",
    "chart": "workload-identity-webhook",
    "release": "{{ .Release.Name }}",
}
# Written as text: a map of the values.
SELECTOR: Final = "SELECTOR"
NONE: Final = {"matchLabels": {"azwi.test/nowhere": "true"}}
RBAC: Final = "rbac.authorization.k8s.io"


def write(directory: Path, image: str) -> Path:
    """Write the chart: two of v1.6.0's values, azureTenantID and mutatingWebhookNamespaceSelector, and drainSeconds."""
    (directory / "templates").mkdir(parents=True)
    chart = {"apiVersion": "v2", "name": "workload-identity-webhook", "version": "1.6.0"}
    (directory / "Chart.yaml").write_text(json.dumps(chart))
    values = {"azureTenantID": "", "mutatingWebhookNamespaceSelector": {}, "drainSeconds": 0}
    (directory / "values.yaml").write_text(json.dumps(values))
    text = yaml.safe_dump_all(objects("{{ .Release.Namespace }}", image))
    text = text.replace(f": {SELECTOR}\n", ": {{ .Values.mutatingWebhookNamespaceSelector | toJson }}\n")
    (directory / "templates" / "all.yaml").write_text(text)
    (directory / "program.py").write_text(Path(server.__file__).read_text())
    program = (
        f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {PROGRAM}\n  namespace: {{{{ .Release.Namespace }}}}\n"
    )
    data = 'data:\n  server.py: |\n{{ .Files.Get "program.py" | indent 4 }}\n'
    (directory / "templates" / "program.yaml").write_text(program + data)
    return directory


def objects(namespace: str, image: str) -> list[JsonObject]:
    """The objects, but for the program's ConfigMap."""
    here = {"namespace": namespace, "labels": LABELS}
    account = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]
    return [
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, **here}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT, **here}},
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": CONFIG, **here},
            "data": {
                "AZURE_TENANT_ID": "{{ .Values.azureTenantID }}",
                "AZURE_ENVIRONMENT": "AzurePublicCloud",
                "DRAIN_SECONDS": "{{ .Values.drainSeconds }}",
            },
        },
        _role("ClusterRole", {"name": ROLE, "labels": LABELS}, _cluster_rules()),
        _role(
            "Role", {"name": ROLE, **here}, [_rule("secrets", ["create", "delete", "get", "list", "patch", "update"])]
        ),
        _binding("ClusterRole", {"name": BINDING, "labels": LABELS}, account),
        _binding("Role", {"name": BINDING, **here}, account),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": SERVICE, **here},
            "spec": {"selector": LABELS, "ports": [{"port": 443, "targetPort": 9443}]},
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": DEPLOYMENT, **here},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": LABELS}},
        },
        _deployment({"name": DEPLOYMENT, **here}, image),
        _configuration(namespace),
    ]


def _rule(resource: str, verbs: list[str], group: str = "") -> JsonObject:
    return {"apiGroups": [group], "resources": [resource], "verbs": verbs}


def _cluster_rules() -> list[JsonObject]:
    reading = ["get", "list", "watch"]
    configurations = _rule("mutatingwebhookconfigurations", [*reading, "update"], "admissionregistration.k8s.io")
    return [_rule("serviceaccounts", reading), configurations]


def _role(kind: str, metadata: JsonObject, rules: list[JsonObject]) -> JsonObject:
    return {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": metadata, "rules": rules}


def _binding(kind: str, metadata: JsonObject, subjects: list[JsonObject]) -> JsonObject:
    role = {"apiGroup": RBAC, "kind": kind, "name": ROLE}
    manifest = {"apiVersion": f"{RBAC}/v1", "kind": f"{kind}Binding", "metadata": metadata}
    return {**manifest, "roleRef": role, "subjects": subjects}


def _deployment(metadata: JsonObject, image: str) -> JsonObject:
    probe = {"httpGet": {"path": "/readyz", "port": 9440}, "initialDelaySeconds": 5, "periodSeconds": 5}
    container = {
        "name": "manager",
        "image": image,
        "command": ["python3", "/program/server.py"],
        "envFrom": [{"configMapRef": {"name": CONFIG}}],
        "ports": [{"name": "webhook-server", "containerPort": 9443}, {"name": "healthz", "containerPort": 9440}],
        "readinessProbe": probe,
        "livenessProbe": {**probe, "initialDelaySeconds": 15, "periodSeconds": 20},
        "volumeMounts": [
            {"name": "cert", "mountPath": "/certs", "readOnly": True},
            {"name": "program", "mountPath": "/program"},
        ],
    }
    volumes = [
        {"name": "cert", "secret": {"defaultMode": 420, "secretName": SECRET}},
        {"name": "program", "configMap": {"name": PROGRAM}},
    ]
    spec = {"serviceAccountName": ACCOUNT, "containers": [container], "volumes": volumes}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": spec},
        },
    }


def _configuration(namespace: str) -> JsonObject:
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": CONFIGURATION, "labels": LABELS},
        "webhooks": [
            {
                "name": "mutation.azure-workload-identity.io",
                "admissionReviewVersions": ["v1", "v1beta1"],
                "clientConfig": {
                    "service": {"name": SERVICE, "namespace": namespace, "path": names.MUTATE_PATH},
                },
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "namespaceSelector": SELECTOR,
                "objectSelector": {"matchLabels": {names.USE_LABEL: "true"}},
                "reinvocationPolicy": "IfNeeded",
                "rules": [pods],
                "sideEffects": "None",
            }
        ],
    }
