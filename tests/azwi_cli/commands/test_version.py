"""`azwi version`."""

from azure_workload_identity import __version__
from tests.azwi_cli.test_main import azwi
from tests.support.schemas import follows_schema


def test_text() -> None:
    """Two lines, as v1.6.0 prints them."""
    assert azwi("version").stdout == f"Version: {__version__}\nGitCommit: unknown\n"


def test_json() -> None:
    """Machines get all that is known."""
    assert follows_schema("version", azwi("version", "-o", "json").stdout)["buildVersion"] == __version__


def test_one_format() -> None:
    """`azwi --version` prints what `azwi version` does."""
    assert azwi("--version").stdout == azwi("version").stdout
