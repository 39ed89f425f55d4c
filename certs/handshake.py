"""What a client would say of a server's TLS, found out by shaking hands with it in memory."""

import ssl
from datetime import UTC, datetime
from typing import Final

# A handshake in memory is over after two turns of each side.
TURNS: Final = 4
# OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which the ssl module has no name for.
_NO_CHECK_TIME: Final = 0x200000


def complaint(server: ssl.SSLContext, bundle: bytes, host: str) -> str:
    """Why a client that trusts `bundle` (PEM; empty: the system's CAs) would not call `host`; empty when it would."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.hostname_checks_common_name = False
    try:
        if bundle.strip():
            client.load_verify_locations(cadata=bundle.decode("ascii"))
        else:
            client.load_default_certs()
        _shake(client, server, host)
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (ssl.SSLError, ValueError) as error:
        return f"the caBundle cannot be used: {error}"
    return ""


def life(server: ssl.SSLContext, certificate: bytes) -> tuple[datetime, datetime]:
    """From when to when the served certificate (PEM, the leaf first) is valid.

    Raises:
        ssl.SSLError, ValueError: when it is not the one that is served.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags = ssl.VerifyFlags(ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    client.load_verify_locations(cadata=certificate.decode("ascii"))
    peer = _shake(client, server, "").getpeercert() or {}
    return _time(peer["notBefore"]), _time(peer["notAfter"])


def _time(text: object) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(text)), UTC)


def _shake(client: ssl.SSLContext, server: ssl.SSLContext, host: str) -> ssl.SSLObject:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client.wrap_bio(to_client, to_server, server_hostname=host or None)
    far = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(TURNS):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return near
