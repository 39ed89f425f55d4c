"""Keys of the certificate Secret; the first four are those of v1.6.0."""

from typing import Final

CA: Final = "ca.crt"
CA_KEY: Final = "ca.key"
LEAF: Final = "tls.crt"
LEAF_KEY: Final = "tls.key"
NEXT_CA: Final = "next-ca.crt"
NEXT_CA_KEY: Final = "next-ca.key"
OLD_CA: Final = "old-ca.crt"
KEYS: Final = (CA, CA_KEY, LEAF, LEAF_KEY, NEXT_CA, NEXT_CA_KEY, OLD_CA)
AUTHORITIES: Final = (CA, NEXT_CA, OLD_CA)
