"""The listeners in front of the state."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

from testbed.azure_management import arm, blobs, graph
from testbed.azure_management.state import Azure
from testbed.azure_management.wire import Answer, Request, as_bytes, listening


@contextmanager
def azure_management(directory: Path) -> Iterator[Azure]:
    """Serve ARM, Graph and a storage account of an empty tenant; the directory gets the CA that clients must trust."""
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
        listening(_responding(azure, lock, blobs.respond), context, azure.clock, as_bytes) as azure.storage.account,
        listening(_responding(azure, lock, blobs.respond_site), context, azure.clock, as_bytes) as azure.storage.site,
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
            if request.base == azure.storage.account:
                raise blobs.StorageRefusal(failure.status, failure.code, failure.message, failure.headers)
            body = {"error": {"code": failure.code, "message": failure.message}}
            return Answer(failure.status, body, failure.headers, azure.faults.raw)

    return responding
