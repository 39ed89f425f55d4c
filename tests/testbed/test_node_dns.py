"""The DNS of the tests' node."""

import socket

import dns.message
import dns.query
import dns.rcode
import pytest

from tests.cluster.support.node.configuration import MACHINE
from tests.cluster.support.node.dns import serving

HOSTS = {"login.microsoftonline.com": MACHINE, "web.shop.svc.cluster.local": "10.96.0.7"}


@pytest.mark.parametrize(
    ("name", "kind", "code", "addresses"),
    [
        ("login.microsoftonline.com", "A", dns.rcode.NOERROR, [MACHINE]),
        ("Web.shop.svc.cluster.local", "A", dns.rcode.NOERROR, ["10.96.0.7"]),
        ("login.microsoftonline.com", "AAAA", dns.rcode.NOERROR, []),
        ("login.microsoftonline.com.shop.svc.cluster.local", "A", dns.rcode.NXDOMAIN, []),
        ("example.com", "A", dns.rcode.NXDOMAIN, []),
    ],
)
def test_answers(name: str, kind: str, code: int, addresses: list[str]) -> None:
    """Names that exist have their address, and an empty answer for other types; others do not exist."""
    with serving("127.0.0.1", HOSTS.get, 0) as port:
        answer = dns.query.udp(dns.message.make_query(name, kind), "127.0.0.1", timeout=30, port=port)
    assert answer.rcode() == code
    assert [record.to_text() for found in answer.answer for record in found] == addresses


def test_junk_is_ignored() -> None:
    """What is not a query is not answered, and the next query is."""
    with serving("127.0.0.1", HOSTS.get, 0) as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as junk:
        junk.sendto(b"junk", ("127.0.0.1", port))
        query = dns.message.make_query("login.microsoftonline.com", "A")
        assert dns.query.udp(query, "127.0.0.1", timeout=30, port=port).answer
