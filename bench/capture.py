"""Makes reviews/*.json: what a real kube-apiserver sends to a mutating webhook when the pods of `pods` are created.

`python -m bench.capture` in the repository; it needs what the cluster tests need (`make cluster-tools`).
"""

import base64
import json
import ssl
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

import trustme

from bench import pods
from tests.cluster.control_plane import ControlPlane, Programs, control_plane
from webhook import names

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


@dataclass
class Recorder:
    """Where the recording webhook listens, and the last body it was sent."""

    url: str
    ca_pem: bytes
    body: bytes = b""


def main() -> None:
    """Capture all reviews."""
    REVIEWS.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        control_plane(Programs.find(), Path(directory)) as cluster,
        _recorder() as recorder,
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


def _prepare(cluster: ControlPlane, recorder: Recorder) -> None:
    cluster.create_namespace(name=pods.NAMESPACE)
    cluster.create_service_account(pods.NAMESPACE, pods.ACCOUNT)
    cluster.apply(_configuration(recorder))
    deadline = time.monotonic() + REGISTERED_SECONDS
    while not recorder.body:  # the API server takes a moment to see its own configuration
        if time.monotonic() > deadline:
            sys.exit("the API server does not call the webhook")
        _capture(cluster, recorder, pods.small(), (*CREATE, "--dry-run=server"))


def _capture(cluster: ControlPlane, recorder: Recorder, pod: pods.Map, how: tuple[str, ...]) -> bytes:
    recorder.body = b""
    done = cluster.kubectl(*how, f"--namespace={pods.NAMESPACE}", "--filename=-", stdin=json.dumps(pod))
    if done.returncode:
        sys.exit(f"kubectl {how[0]} failed: {done.stderr}")
    return recorder.body


def _configuration(recorder: Recorder) -> pods.Map:
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


@contextmanager
def _recorder() -> Iterator[Recorder]:
    """Serve a webhook on loopback that keeps what it is sent and allows it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        recorder = Recorder(f"https://127.0.0.1:{server.server_port}/", authority.cert_pem.bytes())
        server.RequestHandlerClass = _handler(recorder)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield recorder
        finally:
            server.shutdown()
            thread.join()


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10.0  # an idle connection must not hold this process

        def do_POST(self) -> None:
            recorder.body = self.rfile.read(int(self.headers["Content-Length"]))
            response = {"uid": json.loads(recorder.body)["request"]["uid"], "allowed": True}
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
            answer = json.dumps(review).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    return Handler


if __name__ == "__main__":
    main()
