"""Makes reviews/*.json: what a real kube-apiserver sends to a mutating webhook when the pods of `pods` are created.

`python -m bench.capture` in the repository; it needs what the cluster tests need (`make cluster-tools`).
"""

import base64
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from bench import pods
from testbed.cluster.control_plane import ControlPlane, Programs, control_plane
from testbed.cluster.other_webhook import OtherWebhook, other_webhook

REVIEWS: Final = Path(__file__).with_name("reviews")
REGISTERED_SECONDS: Final = 30.0

CREATE: Final = ("create",)
# A pod of a Deployment comes from this controller, under this field manager.
REPLICA: Final = (
    "create",
    "--as=system:serviceaccount:kube-system:replicaset-controller",
    "--field-manager=kube-controller-manager",
)
# Leaves the whole manifest in an annotation.
APPLY: Final = ("apply",)


def main() -> None:
    """Capture all reviews."""
    REVIEWS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        control_plane(Programs.find(), Path(directory)) as cluster,
        other_webhook(lambda _: []) as recorder,
    ):
        _prepare(cluster, recorder)
        for name, pod, how in (
            ("small", pods.small(), CREATE),
            ("medium", pods.medium(), REPLICA),
            ("proxy", pods.proxy(), REPLICA),
            ("large", pods.large(), APPLY),
        ):
            body = _capture(cluster, recorder, pod, how)
            (REVIEWS / f"{name}.json").write_bytes(body)
            print(f"{name:8}{len(body):8} bytes")


def _prepare(cluster: ControlPlane, recorder: OtherWebhook) -> None:
    cluster.create_namespace(name=pods.NAMESPACE)
    cluster.create_service_account(pods.NAMESPACE, pods.ACCOUNT)
    cluster.apply(_configuration(recorder))
    deadline = time.monotonic() + REGISTERED_SECONDS
    while not recorder.body:  # the API server takes a moment to see its own configuration
        if time.monotonic() > deadline:
            sys.exit("the API server does not call the webhook")
        _capture(cluster, recorder, pods.small(), (*CREATE, "--dry-run=server"))


def _capture(cluster: ControlPlane, recorder: OtherWebhook, pod: JsonObject, how: tuple[str, ...]) -> bytes:
    recorder.body = b""
    done = cluster.kubectl(*how, f"--namespace={pods.NAMESPACE}", "--filename=-", stdin=json.dumps(pod))
    if done.returncode:
        sys.exit(f"kubectl {how[0]} failed: {done.stderr}")
    return recorder.body


def _configuration(recorder: OtherWebhook) -> JsonObject:
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "recorder"},
        "webhooks": [
            {
                "name": "recorder.example.test",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "objectSelector": {"matchLabels": {names.USE_LABEL: "true"}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                "clientConfig": {"url": recorder.url, "caBundle": base64.b64encode(recorder.ca_pem).decode()},
            }
        ],
    }


if __name__ == "__main__":
    main()
