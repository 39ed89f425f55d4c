"""Each output for machines has a published schema."""

import json

from tests.support.schemas import DIRECTORY

OUTPUTS = {"doctor", "explain", "jwks", "oidc", "podidentity-detect", "serviceaccount", "token-exchange", "version"}


def test_every_output_has_one() -> None:
    """The schemas are those of the commands with --output json, and each says whose it is."""
    titles = {file.stem: json.loads(file.read_text())["title"] for file in DIRECTORY.glob("*.json")}
    assert titles.keys() >= OUTPUTS
    assert all(title.startswith("azwi ") for title in titles.values())
