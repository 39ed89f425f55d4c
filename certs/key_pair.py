"""A certificate and its private key."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate (PEM, the leaf first where there is a chain) and its private key (PEM)."""

    certificate: bytes
    key: bytes = field(repr=False)
