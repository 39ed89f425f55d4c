"""A certificate and its key, as everything here hands them on."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate (PEM, the leaf first where there is a chain) and its private key (PEM)."""

    certificate: bytes
    key: bytes = field(repr=False)
