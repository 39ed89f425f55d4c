"""YAML from strangers: bounded in depth before a loader recurses into it."""

from typing import Final

import yaml

MAX_DEPTH: Final = 200
LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def bounded(content: str | bytes) -> str | bytes:
    """YAML as it is, when it is no deeper than MAX_DEPTH: a loader recurses, and libyaml's without a limit.

    Raises:
        yaml.YAMLError: when it is deeper, or no YAML.
    """
    depth = 0
    for event in yaml.parse(content, Loader=LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise yaml.YAMLError(f"it is nested deeper than {MAX_DEPTH}")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return content
