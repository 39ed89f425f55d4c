"""The pods whose creation is measured: invented, of the shapes and sizes that clusters have."""

from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject

NAMESPACE: Final = "shop"
ACCOUNT: Final = "checkout"
REGISTRY: Final = "registry.example.test/shop"
USE: Final = {names.USE_LABEL: "true"}


def small() -> JsonObject:
    """The smallest pod: one container with nothing but a name, no token for the API server."""
    container = {"name": "app", "image": f"{REGISTRY}/hello:1"}
    return _pod({"name": "hello", "labels": {"app": "hello", **USE}}, [container], automountServiceAccountToken=False)


def medium() -> JsonObject:
    """A web service as its ReplicaSet creates it: an app, its session cache and a metrics exporter."""
    containers = [
        _container("checkout", 15, port=8080),
        _sidecar("session-cache", 3, port=6379),
        _sidecar("metrics-exporter", 3, port=9121),
    ]
    return _pod(_replica_metadata(), containers, **_scheduling(), volumes=_volumes())


def proxy() -> JsonObject:
    """The same with the proxy sidecar."""
    pod = medium()
    pod["metadata"]["annotations"][names.INJECT_PROXY] = "true"
    return pod


def large() -> JsonObject:
    """A pod that grew for years: many containers, each with all of the platform's variables."""
    containers = [_container(f"worker-{_WORDS[index]}", 20, port=8080 + index) for index in range(12)]
    containers[0]["args"] = [
        "--rules",
        "\n".join(f"route /{a}/{b} to {b}-{a} weight 10" for a in _WORDS[:6] for b in _WORDS),
    ]
    metadata = {"name": "batch-0", "labels": _labels("batch"), "annotations": _annotations()}
    return _pod(metadata, containers, **_scheduling(), volumes=_volumes())


def _pod(metadata: JsonObject, containers: list[JsonObject], **spec: object) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"serviceAccountName": ACCOUNT, "containers": containers, **spec},
    }


def _replica_metadata() -> JsonObject:
    owner = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "name": "checkout-7d4b9c6f5d",
        "uid": "3d1b2a0c-5b1e-4f0e-9a53-0b7f4f1f2c11",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "generateName": "checkout-7d4b9c6f5d-",
        "labels": {**_labels("checkout"), "pod-template-hash": "7d4b9c6f5d"},
        "annotations": _annotations(),
        "ownerReferences": [owner],
    }


def _labels(app: str) -> JsonObject:
    return {
        "app.kubernetes.io/name": app,
        "app.kubernetes.io/instance": f"{app}-production",
        "app.kubernetes.io/version": "4.18.2",
        "app.kubernetes.io/component": "backend",
        "app.kubernetes.io/part-of": "shop",
        "app.kubernetes.io/managed-by": "Helm",
        "example.test/team": "payments",
        **USE,
    }


def _annotations() -> JsonObject:
    return {
        "checksum/config": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "checksum/secrets": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9121",
        "prometheus.io/path": "/metrics",
        "example.test/runbook": "https://runbooks.example.test/shop/checkout",
    }


_WORDS: Final = (
    *("orders", "payments", "invoices", "stock", "prices", "carts", "refunds", "returns", "coupons", "search"),
    *("reviews", "accounts", "shipping", "reports"),
)
_KINDS: Final = ("URL", "TIMEOUT_SECONDS", "TOKEN")


def _variables(count: int) -> list[JsonObject]:
    """Plain values, values of ConfigMaps and Secrets, and one of the pod's own fields."""
    pod_name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return [pod_name, *(_variable(*divmod(index, len(_KINDS))) for index in range(count - 1))]


def _variable(service: int, kind: int) -> JsonObject:
    word = _WORDS[service % len(_WORDS)]
    name = f"{word.upper()}_{_KINDS[kind]}"
    if _KINDS[kind] == "TOKEN":
        return {"name": name, "valueFrom": {"secretKeyRef": {"name": "checkout-tokens", "key": f"{word}-token"}}}
    if _KINDS[kind] == "URL":
        return {"name": name, "value": f"https://{word}.shop.svc.cluster.local:8443/api/v2"}
    return {"name": name, "value": "30"}


def _container(name: str, variables: int, *, port: int) -> JsonObject:
    """One with everything."""
    return {
        **_sidecar(name, variables, port=port),
        "args": [f"--listen=0.0.0.0:{port}", "--config=/etc/checkout/config.yaml", "--log-format=json"],
        "envFrom": [{"configMapRef": {"name": f"{name}-environment"}}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": port}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/livez", "port": port}, "initialDelaySeconds": 10},
        "volumeMounts": [
            {"name": "config", "mountPath": "/etc/checkout", "readOnly": True},
            {"name": "tls", "mountPath": "/etc/tls", "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  a path in the container
        ],
    }


def _sidecar(name: str, variables: int, *, port: int) -> JsonObject:
    return {
        "name": name,
        "image": f"{REGISTRY}/{name}:4.18.2",
        "ports": [{"name": "http", "containerPort": port}],
        "env": _variables(variables),
        "resources": {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }


def _volumes() -> list[JsonObject]:
    return [
        {"name": "config", "configMap": {"name": "checkout-config"}},
        {"name": "tls", "secret": {"secretName": "checkout-tls"}},
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
    ]


def _scheduling() -> JsonObject:
    selector = {"matchLabels": {"app.kubernetes.io/name": "checkout"}}
    apart = {"labelSelector": selector, "topologyKey": "kubernetes.io/hostname"}
    return {
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": apart}]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": selector,
            }
        ],
        "tolerations": [{"key": "example.test/spot", "operator": "Exists", "effect": "NoSchedule"}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 60,
    }
