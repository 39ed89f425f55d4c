"""A release's objects beyond those of installation.py: a Deployment, and the endpoints of its Service."""

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from tests.cluster.support.installation import Installation

LABELS = {"app": "webhook"}


def server_deployment(release: Installation, replicas: int = 2, *flags: str) -> JsonObject:
    """Write the Deployment of the server."""
    container = {"name": "manager", "image": "azwi", "command": ["azwi-webhook"], "args": ["--log-level=info", *flags]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "azwi", "namespace": release.name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": LABELS},
            "template": {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}},
        },
    }


def endpoints(release: Installation, *, ready: bool = True) -> JsonObject:
    """Write what the endpoint controller writes."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "azwi-1",
            "namespace": release.name,
            "labels": {"kubernetes.io/service-name": names.WEBHOOK_SERVICE},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
        "ports": [{"port": 9443, "name": ""}],
    }
