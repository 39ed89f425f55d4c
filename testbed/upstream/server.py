"""Runs in a pod in place of v1.6.0's server, with the standard library and `cryptography` only.

What counts for a migration is as in v1.6.0: an RSA pair, which it replaces when it finds another; the caBundle, which
it makes `ca.crt` of its Secret; readiness after the certificate is mounted; an end without draining, unless
DRAIN_SECONDS says otherwise.
"""

import base64
import hashlib
import json
import os
import signal
import ssl
import sys
import threading
import time
import traceback
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

Json = dict[str, Any]

CERTIFICATES: Final = Path("/certs")
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
POLL_SECONDS: Final = 0.5
SERVICE: Final = "azure-wi-webhook-webhook-service"
SECRET: Final = "azure-wi-webhook-server-cert"
CONFIGURATION: Final = "azure-wi-webhook-mutating-webhook-configuration"
WEBHOOKS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/" + CONFIGURATION
CLIENT_ID: Final = "azure.workload.identity/client-id"
DIRECTORY: Final = "/var/run/secrets/azure/wi"
LIFETIME: Final = timedelta(days=3650)

serving = threading.Event()
draining = threading.Event()


def api(method: str, path: str, body: Json | None = None) -> Json:
    """Send a request to the API server."""
    request = urllib.request.Request(
        f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}", "Content-Type": "application/json"},
        method=method,
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=5, context=context) as response:  # noqa: S310  always https
        answer: Json = json.load(response)
    return answer


def namespace() -> str:
    """The namespace of this pod."""
    return (ACCOUNT / "namespace").read_text()


def sign(name: str, issuer: str, key: rsa.RSAPrivateKey, signer: rsa.RSAPrivateKey, *, ca: bool) -> bytes:
    """Make a certificate (PEM)."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def new_pair() -> dict[str, bytes]:
    """Make an RSA CA and a leaf of it."""
    ca_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    issuer = "azure-workload-identity-ca"
    return {
        "ca.crt": sign(issuer, issuer, ca_key, ca_key, ca=True),
        "ca.key": as_pem(ca_key),
        "tls.crt": sign(f"{SERVICE}.{namespace()}.svc", issuer, key, ca_key, ca=False),
        "tls.key": as_pem(key),
    }


def as_pem(key: rsa.RSAPrivateKey) -> bytes:
    """Write a key in the only format that the rotator reads."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def is_own(data: dict[str, str]) -> bool:
    """Whether the pair is an RSA pair that belongs together."""
    try:
        key = load_pem_private_key(base64.b64decode(data["ca.key"]), None)
        ca = x509.load_pem_x509_certificate(base64.b64decode(data["ca.crt"]))
        leaf = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
        leaf.verify_directly_issued_by(ca)
    except Exception:  # noqa: BLE001  whatever it is, it is not its own
        return False
    return isinstance(key, rsa.RSAPrivateKey) and key.public_key() == ca.public_key()


def rotate() -> None:
    """Make the Secret hold an own pair, and the caBundle its CA."""
    path = f"/api/v1/namespaces/{namespace()}/secrets/{SECRET}"
    secret = api("GET", path)
    if not is_own(secret.get("data") or {}):
        secret["data"] = {key: base64.b64encode(value).decode() for key, value in new_pair().items()}
        secret = api("PUT", path, secret)
        log("the certificate was refreshed")
    configuration = api("GET", WEBHOOKS)
    clients = [webhook["clientConfig"] for webhook in configuration["webhooks"]]
    if any(client.get("caBundle") != secret["data"]["ca.crt"] for client in clients):
        for client in clients:
            client["caBundle"] = secret["data"]["ca.crt"]
        api("PUT", WEBHOOKS, configuration)
        log("the CA was injected")


def keep_rotating(injected: threading.Event) -> None:
    """Rotate without end."""
    last = ""
    while True:
        try:
            rotate()
            injected.set()
            last = ""
        except Exception as error:  # noqa: BLE001  tried again
            if str(error) != last:
                log(f"rotation failed: {error}")
            last = str(error)
        time.sleep(POLL_SECONDS)


def keep_loading(context: ssl.SSLContext) -> None:
    """Load the mounted pair whenever it changes."""
    loaded = b""
    while True:
        found = (CERTIFICATES / "tls.crt").read_bytes()
        if found != loaded:
            context.load_cert_chain(CERTIFICATES / "tls.crt", CERTIFICATES / "tls.key")
            loaded = found
        time.sleep(POLL_SECONDS)


@cache
def client_id(account_namespace: str, account: str) -> str:
    """The client id of a ServiceAccount."""
    found = api("GET", f"/api/v1/namespaces/{account_namespace}/serviceaccounts/{account}")
    return str((found["metadata"].get("annotations") or {}).get(CLIENT_ID, ""))


def patch(pod_namespace: str, pod: Json) -> list[Json]:
    """Mutate a pod as v1.6.0 does."""
    metadata, spec = pod["metadata"], pod["spec"]
    name = metadata.get("name") or f"{metadata.get('generateName', '')} (prefix)"
    volume = f"azure-workload-identity-reserved-{hashlib.sha256(name.encode()).hexdigest()[:30]}"
    token = {
        "path": "token/azure-identity-token",
        "audience": "api://AzureADTokenExchange",
        "expirationSeconds": 3600,
    }
    variables = {
        "AZURE_CLIENT_ID": client_id(pod_namespace, spec.get("serviceAccountName") or "default"),
        "AZURE_TENANT_ID": os.environ.get("AZURE_TENANT_ID", ""),
        "AZURE_FEDERATED_TOKEN_FILE": f"{DIRECTORY}/token/azure-identity-token",
        "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
    }
    for container in spec["containers"]:
        env = container.setdefault("env", [])
        present = {variable["name"] for variable in env}
        env += [{"name": key, "value": value} for key, value in variables.items() if value and key not in present]
        mounts = container.setdefault("volumeMounts", [])
        if all(mount["name"] != volume for mount in mounts):
            mounts.append({"name": volume, "mountPath": DIRECTORY, "readOnly": True})
    others = [found for found in spec.get("volumes", []) if found["name"] != volume]
    spec["volumes"] = [*others, {"name": volume, "projected": {"sources": [{"serviceAccountToken": token}]}}]
    return [{"op": "replace", "path": "/spec", "value": spec}]


class Admission(BaseHTTPRequestHandler):
    """POST /mutate-v1-pod."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a review."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
        response: Json = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch"}
        operations = patch(request["namespace"], request["object"])
        response["patch"] = base64.b64encode(json.dumps(operations).encode()).decode()
        answer = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        send(self, 200, json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        """Log no requests."""


class Health(BaseHTTPRequestHandler):
    """/healthz and /readyz, which are the same."""

    def do_GET(self) -> None:
        """Answer 200 once reviews are answered."""
        send(self, 200 if serving.is_set() else 500, b"")

    def log_message(self, *_: object) -> None:
        """Log no requests."""


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes) -> None:
    """Answer."""
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body)))
    if draining.is_set():
        handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(body)


class Server(ThreadingHTTPServer):
    """Many connections at once; errors of single ones do not matter."""

    request_queue_size = 128
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  the base class's
        """Log it, unless the client has gone."""
        if not isinstance(sys.exception(), OSError):
            traceback.print_exc()


def log(text: str) -> None:
    """Write a line to the log."""
    print(f"{datetime.now(UTC):%H:%M:%S.%f} {text}", flush=True)  # noqa: T201  its log


def stop(seconds: float) -> None:
    """End at once, as v1.6.0 does, or drain for that long: new connections are answered, and none is kept."""
    if not seconds:
        os._exit(0)
    draining.set()
    threading.Timer(seconds, os._exit, [0]).start()


def main() -> None:
    """Start as v1.6.0 does: certificate, caBundle, mount, then the webhook port."""
    signal.signal(signal.SIGTERM, lambda *_: stop(float(os.environ.get("DRAIN_SECONDS", "0"))))
    threading.Thread(target=Server(("", 9440), Health).serve_forever, daemon=True).start()
    injected = threading.Event()
    threading.Thread(target=keep_rotating, args=(injected,), daemon=True).start()
    injected.wait()
    while not (CERTIFICATES / "tls.crt").exists():
        time.sleep(POLL_SECONDS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "tls.crt", CERTIFICATES / "tls.key")
    threading.Thread(target=keep_loading, args=(context,), daemon=True).start()
    server = Server(("", 9443), Admission)
    # The handshake is the connection's own thread's.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    serving.set()
    log("serving")
    server.serve_forever()


if __name__ == "__main__":
    main()
