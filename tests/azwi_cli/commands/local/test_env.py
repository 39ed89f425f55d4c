"""How `azwi env` writes variables."""

import json
import subprocess

import pytest

from azwi_cli.commands.local.env import WRITERS, Format
from azwi_cli.commands.local.options import environment
from azwi_cli.console.errors import CommandError
from tests.azwi_cli.test_main import azwi

HOSTILE = "a'b\"c $(touch never) `touch never` \\ ;"


def test_sh() -> None:
    """A shell reads the values as they are, and runs nothing of them; what would get in the way is unset."""
    lines = WRITERS[Format.SH]({"AZURE_CLIENT_ID": HOSTILE}, ["AZURE_CLIENT_SECRET"], "2026-11-27T16:00:00Z")
    script = f'AZURE_CLIENT_SECRET=x\n{lines}\nprintf %s "$AZURE_CLIENT_ID" "${{AZURE_CLIENT_SECRET-}}"'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == HOSTILE
    assert lines.endswith("# the token ends at 2026-11-27 16:00:00 UTC")


def test_fish() -> None:
    """Fish has quotes of its own."""
    lines = WRITERS[Format.FISH]({"A": "it's \\"}, ["B"], "")
    assert lines == "set -gx A 'it\\'s \\\\'\nset -e B"


def test_dotenv() -> None:
    """Docker takes a line as it is, so one value must be one line."""
    assert WRITERS[Format.DOTENV]({"A": "b c"}, ["B"], "") == "A=b c"
    with pytest.raises(CommandError, match="cannot be written in this format"):
        WRITERS[Format.DOTENV]({"A": "b\nC=d"}, [], "")


def test_json() -> None:
    """Programs get all of it."""
    document = json.loads(WRITERS[Format.JSON]({"A": "b"}, ["B"], "never"))
    assert document == {"variables": {"A": "b"}, "leftOut": ["B"], "expiresAt": "never"}


def test_environment() -> None:
    """The user's own logins are left out, everything else stays."""
    given = {"PATH": "/bin", "AZURE_CLIENT_SECRET": "x", "AZURE_CLIENT_ID": "mine", "IDENTITY_ENDPOINT": "http://x"}
    found, left_out = environment(given, {"AZURE_CLIENT_ID": "pod's"})
    assert found == {"PATH": "/bin", "AZURE_CLIENT_ID": "pod's"}
    assert left_out == ["AZURE_CLIENT_SECRET", "IDENTITY_ENDPOINT"]


def test_usage() -> None:
    """Flags that cannot go together are wrong usage, and so is a command without a command."""
    assert azwi("env", "--service-account=web", "--remove", "--renew").exit_code == 2
    assert azwi("run", "--service-account=web").exit_code == 2
