"""Whether a client accepts a server's TLS certificate, tested by a handshake in memory."""

import ssl
from datetime import UTC, datetime
from typing import Final

# A TLS 1.2 or 1.3 handshake in memory needs two rounds of each side.
MAX_ROUNDS: Final = 4
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME; the ssl module has no name for it.
_NO_CHECK_TIME: Final = 0x200000


def verification_error(server: ssl.SSLContext, bundle: bytes, host: str, *, check_time: bool = True) -> str:
    """Why a client that trusts `bundle` (PEM; empty: the system's CAs) rejects `server` as `host`; empty if not.

    Without `check_time` certificates may have expired, or not be valid yet, by this machine's clock.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.hostname_checks_common_name = False
    if not check_time:
        client.verify_flags = ssl.VerifyFlags(client.verify_flags | _NO_CHECK_TIME)
    try:
        if bundle.strip():
            client.load_verify_locations(cadata=bundle.decode("ascii"))
        else:
            client.load_default_certs()
        _handshake(client, server, host)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (ssl.SSLError, ValueError) as error:
        return f"the caBundle cannot be used: {error}"
    return ""


def validity(server: ssl.SSLContext, certificate: bytes) -> tuple[datetime, datetime]:
    """The notBefore and notAfter of the certificate (PEM, the leaf first) that `server` presents.

    Raises:
        ssl.SSLError, ValueError: `server` presents another certificate.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags(ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    client.load_verify_locations(cadata=certificate.decode("ascii"))
    peer = _handshake(client, server, "").getpeercert() or {}
    return _time(peer["notBefore"]), _time(peer["notAfter"])


def _time(text: object) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(text)), UTC)


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> ssl.SSLObject:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_side = client.wrap_bio(to_client, to_server, server_hostname=host or None)
    server_side = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(MAX_ROUNDS):
        for side in (client_side, server_side):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                # A server that asks for a client's certificate is trusted by then, and more is not examined here.
                if error.reason != "PEER_DID_NOT_RETURN_A_CERTIFICATE":
                    raise
                return client_side
    return client_side
