"""The programs that `make cluster-tools` brings."""

import os
from pathlib import Path


def folder() -> Path:
    """Return where they are, there or not."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("KUBEBUILDER_ASSETS") or cache / "azwi" / "cluster" / "bin")
