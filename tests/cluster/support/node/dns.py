"""The cluster's DNS: Services by their names, and hosts outside the cluster that a test adds. Nothing else exists."""

import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from testbed.cluster.control_plane import ApiError, Cluster

DOMAIN: Final = "cluster.local"
SECONDS: Final = 5  # a ClusterIP may change with its Service

# The IPv4 address of a name, None if there is no such name.
Lookup = Callable[[str], str | None]


def service_address(cluster: Cluster, name: str) -> str | None:
    """Return the ClusterIP of SERVICE.NAMESPACE.svc.cluster.local."""
    labels = name.removesuffix(f".svc.{DOMAIN}").split(".")
    if not name.endswith(f".svc.{DOMAIN}") or len(labels) != 2:
        return None
    try:
        spec = cluster.request("GET", f"/api/v1/namespaces/{labels[1]}/services/{labels[0]}")["spec"]
    except ApiError:
        return None
    return str(spec["clusterIP"])


def respond(wire: bytes, lookup: Lookup) -> bytes:
    """Answer one query; of a name that exists there are A records only."""
    query = dns.message.from_wire(wire)
    response = dns.message.make_response(query, recursion_available=True)
    response.flags |= dns.flags.AA
    for question in query.question[:1]:
        address = lookup(question.name.to_text(omit_final_dot=True).lower())
        if address is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        elif question.rdtype == dns.rdatatype.A and question.rdclass == dns.rdataclass.IN:
            response.answer.append(dns.rrset.from_text(question.name, SECONDS, "IN", "A", address))
    return response.to_wire()


@contextmanager
def serving(address: str, lookup: Lookup, port: int = 53) -> Iterator[int]:
    """Answer queries by UDP; yield the port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            wire, socket = self.request
            try:
                socket.sendto(respond(wire, lookup), self.client_address)
            except dns.exception.DNSException:
                return  # it was not a query

    class Server(socketserver.ThreadingUDPServer):
        daemon_threads = True

    with Server((address, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()
