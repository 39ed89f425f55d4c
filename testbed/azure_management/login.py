"""How tests and the programs that they start log in to the emulator."""

import sys
import time
from pathlib import Path
from typing import Any, Final

from azure.core.credentials import AccessToken

from testbed.azure_management.blobs import AUDIENCE
from testbed.azure_management.state import Azure

_AZ: Final = """#!{python}
import json, sys
arguments = sys.argv[1:]
if arguments[:2] != ["account", "get-access-token"]:
    sys.exit("az: this one only gives tokens")
resource = arguments[arguments.index("--resource") + 1]
tokens = {tokens}
print(json.dumps({{"accessToken": tokens[resource.rstrip("/")], "expires_on": {expires}, "tokenType": "Bearer"}}))
"""


class Credential:
    """A credential that has the emulator's tokens; `asked` are the scopes for which it was asked."""

    def __init__(self, azure: Azure) -> None:
        self._azure = azure
        self.asked: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:  # noqa: ANN401  what azure-core passes on
        """Return a token."""
        self.asked += scopes
        return AccessToken(self._azure.token(scopes[0].removesuffix("/.default")), int(time.time()) + 3600)


def install_az(azure: Azure, directory: Path) -> Path:
    """Write an `az` that is logged in to the emulator; the directory belongs on PATH."""
    directory.mkdir(exist_ok=True)
    tokens = {audience: azure.token(audience) for audience in (azure.arm, azure.graph, AUDIENCE)}
    program = directory / "az"
    program.write_text(_AZ.format(python=sys.executable, tokens=tokens, expires=int(time.time()) + 3600))
    program.chmod(0o755)
    return directory
