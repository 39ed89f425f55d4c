"""Keys that were meant to be ours and are not: misspelt, or on the wrong object."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from azure_workload_identity import names

_NOISE: Final = re.compile(r"[^a-z0-9]+")
# How many strange keys of one object are looked into; each makes a warning.
MAX_UNRECOGNIZED: Final = 8


def normalized(key: str) -> str:
    """What stays of a key when case and punctuation go, so that `client_id` and `Client-ID` are one."""
    return _NOISE.sub("", key.lower())


KNOWN: Final = {normalized(key): key for key in (names.USE_LABEL, *names.ACCOUNT_ANNOTATIONS, *names.POD_ANNOTATIONS)}


# A key as it was found, and the key that was probably meant, or None.
UnrecognizedKey = tuple[str, str | None]


def unrecognized_keys(keys: Iterable[str], known: frozenset[str]) -> Iterator[UnrecognizedKey]:
    """Each key that looks like ours and is not in `known`, with the key that was probably meant, or None.

    The key that was meant may be the very same: then it is right, but on the wrong object.
    """
    found = 0
    for key in keys:
        if key in known or "identity" not in key.lower():
            continue
        meant = KNOWN.get(normalized(key))
        if meant is None and not key.startswith(names.PREFIX):
            continue
        yield key, meant
        found += 1
        if found == MAX_UNRECOGNIZED:
            return
