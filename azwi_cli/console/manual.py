"""Where the manual is."""

from typing import Final

from azure_workload_identity import __version__

# The directory of `Documentation` in pyproject.toml's project.urls, which a test holds it to: a release sets both.
MANUAL: Final = f"https://git.example.com/azure-workload-identity/blob/v{__version__}/docs"


def link(page: str, anchor: str) -> str:
    """The address of a part of a page; `page` is its path in docs/."""
    return f"{MANUAL}/{page}#{anchor}"
