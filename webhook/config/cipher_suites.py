"""Cipher suites of TLS 1.2, by the names of `--tls-cipher-suites`.

https://pkg.go.dev/crypto/tls#pkg-constants and OpenSSL's own names, since OpenShift's TLS profiles have the latter.
Only suites with forward secrecy and authenticated encryption are served.
"""

from collections.abc import Sequence
from typing import Final

# Those of TLS 1.3 are always served, as in Go; they may be named.
TLS13: Final = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
TLS12: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
# Go's older names of two of them.
_ALIASES: Final = {f"{name.removesuffix('_SHA256')}": suite for name, suite in TLS12.items() if "POLY1305" in name}
_BY_NAME: Final = {**TLS12, **_ALIASES, **{suite: suite for suite in TLS12.values()}}


def openssl_suites(names: Sequence[str]) -> tuple[str, ...]:
    """OpenSSL's names of the TLS 1.2 suites among `names`; all that are served where there are no names.

    Raises:
        ValueError: with the list of suites, when one of them is not served.
    """
    unknown = [name for name in names if name not in _BY_NAME and name not in TLS13]
    if unknown:
        known = ", ".join([*TLS12, *sorted(TLS13)])
        raise ValueError(f"{', '.join(map(ascii, unknown))[:200]} must be one of {known}")
    return (
        tuple(dict.fromkeys(_BY_NAME[name] for name in names if name in _BY_NAME)) if names else tuple(TLS12.values())
    )
