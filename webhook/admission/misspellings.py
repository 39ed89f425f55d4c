"""Keys that resemble ours and have no effect: misspelt, or on the wrong object."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from azure_workload_identity import names

_PUNCTUATION: Final = re.compile(r"[^a-z0-9]+")
# The longest key that the API server takes: a prefix of 253 characters, a slash, a name of 63. Manifests are unchecked.
MAX_KEY: Final = 317
# How many keys of one object are reported; each makes a warning.
MAX_UNRECOGNIZED: Final = 8


def normalized(key: str) -> str:
    """A key in lower case without punctuation, so that `client_id` and `Client-ID` are equal."""
    return _PUNCTUATION.sub("", key.lower())


KNOWN: Final = {normalized(key): key for key in (names.USE_LABEL, *names.ACCOUNT_ANNOTATIONS, *names.POD_ANNOTATIONS)}


# A key as it was found, and the key that was probably intended, or None.
UnrecognizedKey = tuple[str, str | None]


def unrecognized_keys(keys: Iterable[str], known: frozenset[str]) -> Iterator[UnrecognizedKey]:
    """The keys that resemble ours and are not in `known`, with the key that was probably intended, or None.

    The intended key may be the very same: then it is right, but on the wrong object.
    """
    found = 0
    for key in keys:
        if key in known or "identity" not in key.lower():
            continue
        intended = KNOWN.get(normalized(key))
        if intended is None and not key.startswith(names.PREFIX):
            continue
        yield key[:MAX_KEY], intended
        found += 1
        if found == MAX_UNRECOGNIZED:
            return
