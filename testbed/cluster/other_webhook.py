"""A second mutating webhook, such as a service mesh brings along, served by the test process."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import trustme

from azure_workload_identity.types import JsonObject

# Answers the patch operations for a pod.
Mutation = Callable[[JsonObject], list[JsonObject]]


@dataclass
class OtherWebhook:
    """Where the second webhook listens, how often it was called, and the body of the last call."""

    url: str
    ca_pem: bytes
    calls: int = 0
    body: bytes = b""


@contextmanager
def other_webhook(mutation: Mutation) -> Iterator[OtherWebhook]:
    """Serve a mutation over HTTPS on loopback."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        webhook = OtherWebhook(f"https://127.0.0.1:{server.server_port}/", authority.cert_pem.bytes())
        server.RequestHandlerClass = _handler(webhook, mutation)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield webhook
        finally:
            server.shutdown()
            thread.join()


def _handler(webhook: OtherWebhook, mutation: Mutation) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 60.0  # an idle connection must not hold the test process

        def do_POST(self) -> None:
            webhook.body = self.rfile.read(int(self.headers["Content-Length"]))
            request = json.loads(webhook.body)["request"]
            webhook.calls += 1
            answer = json.dumps(_answer(request["uid"], mutation(request["object"]))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Stay silent: the tests read what the API server stored."""

    return Handler


def _answer(uid: str, patch: list[JsonObject]) -> JsonObject:
    response: JsonObject = {"uid": uid, "allowed": True}
    if patch:
        response |= {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(patch).encode()).decode()}
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
