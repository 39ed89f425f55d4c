"""The two listeners in front of the state."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from testbed.azure_management import arm, graph
from testbed.azure_management.state import Azure
from testbed.azure_management.wire import Answer, Request, listening


@contextmanager
def azure_management(directory: Path) -> Iterator[Azure]:
    """Serve ARM and Graph of an empty tenant; the directory gets the CA that clients must trust."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    azure = Azure(ca_file=directory / "azure-ca.pem")
    authority.cert_pem.write_to_path(str(azure.ca_file))
    lock = threading.Lock()  # one request at a time, so that the state needs no other care
    with (
        listening(_responding(azure, lock, arm.respond), context, azure.clock) as azure.arm,
        listening(_responding(azure, lock, graph.respond), context, azure.clock) as azure.graph,
    ):
        yield azure


def _responding(
    azure: Azure, lock: threading.Lock, respond: Callable[[Azure, Request], Answer]
) -> Callable[[Request], Answer]:
    def responding(request: Request) -> Answer:
        with lock:
            azure.requests.append(request)
            failure = azure.faults.take(request)
            if failure is None:
                return respond(azure, request)
            if failure.after:
                respond(azure, request)
            body = {"error": {"code": failure.code, "message": failure.message}}
            return Answer(failure.status, body, failure.headers, azure.faults.raw)

    return responding
