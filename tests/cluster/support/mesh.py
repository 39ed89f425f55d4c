"""A second mutating webhook as a process of its own: it adds a container once. For many pods at a time.

`python -m tests.cluster.support.mesh PORT CERTIFICATE KEY`
"""

import json
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
import uvicorn

from azure_workload_identity.types import JsonObject
from testbed.cluster.manifests import container
from testbed.processes import MAX_WAIT_SECONDS, free_ports, running, wait_until
from testbed.program import ROOT, listens, write_pair


async def mesh(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401  ASGI's
    """Answer one review."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    request = json.loads(body)["request"]
    response: JsonObject = {"uid": request["uid"], "allowed": True}
    if all(container["name"] != "mesh" for container in request["object"]["spec"]["containers"]):
        patch = [{"op": "add", "path": "/spec/containers/-", "value": container("mesh")}]
        response |= {"patchType": "JSONPatch", "patch": b64encode(json.dumps(patch).encode()).decode()}
    answer = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer.encode()})


@contextmanager
def serving_mesh(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Run it on loopback: its URL and its CA."""
    authority = trustme.CA()
    write_pair(directory / "mesh", authority)
    (port,) = free_ports(1)
    files = [str(directory / "mesh" / name) for name in ("tls.crt", "tls.key")]
    command = [sys.executable, "-m", "tests.cluster.support.mesh", str(port), *files]
    with running(command, log := directory / "mesh.log", cwd=ROOT) as process:
        wait_until(lambda: listens(port), process, log, MAX_WAIT_SECONDS)
        yield f"https://127.0.0.1:{port}/", authority.cert_pem.bytes()


if __name__ == "__main__":
    uvicorn.run(
        mesh,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        ssl_certfile=sys.argv[2],
        ssl_keyfile=sys.argv[3],
        log_level="error",
        timeout_keep_alive=120,
    )
