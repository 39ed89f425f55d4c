"""The floor: what reading a review over TLS, parsing it and answering cost when nothing is decided.

The same uvicorn, TLS, event loop, garbage collection and allocator settings as the webhook's; a bare ASGI function, no
logs, no metrics, one fixed answer.
"""

import sys
from base64 import b64encode
from typing import Final

import orjson
import uvloop
from starlette.types import Receive, Scope, Send

from certs.serving import ServingContext
from certs.source import InMemorySource
from webhook.config.settings import TLS_VERSIONS, Address
from webhook.runtime.allocator import keep_threshold
from webhook.runtime.components import LOCAL_NAMES
from webhook.runtime.http_server import HttpServer
from webhook.runtime.lifecycle import WEBHOOK_LIMITS, tune_garbage_collector
from webhook.runtime.sockets import Listeners
from webhook.server.connections import ConnectionTable

_PATCH: Final = b64encode(b'[{"op":"add","path":"/metadata/labels/floor","value":"true"}]').decode()
_ANSWER: Final = orjson.dumps(
    {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "response": {"uid": "floor", "allowed": True, "patchType": "JSONPatch", "patch": _PATCH},
    }
)
_HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", str(len(_ANSWER)).encode())]


async def floor(_scope: Scope, receive: Receive, send: Send) -> None:
    """Read, parse, answer."""
    chunks, more = [], True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    orjson.loads(b"".join(chunks))
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": _ANSWER})


def main(port: int) -> None:
    """Serve until killed."""
    keep_threshold()
    context = ServingContext(InMemorySource(LOCAL_NAMES), TLS_VERSIONS["1.3"])
    # Without it a collection would run for each large review, and the floor would cost more than the webhook.
    tune_garbage_collector()
    table = ConnectionTable("webhook", WEBHOOK_LIMITS, lambda _port, _reason: None)
    uvloop.run(
        HttpServer(
            floor, Listeners().listen(Address("127.0.0.1", port), "the argument"), table, lambda: context.ssl
        ).serve()
    )


if __name__ == "__main__":
    main(int(sys.argv[1]))
