"""What an issuer is; what is published below one is in test_oidc."""

import pytest

from azwi_cli.console.errors import CommandError
from azwi_cli.issuer import discovery


@pytest.mark.parametrize(
    "url",
    ["http://x.test", "x.test", "https://", "https://x.test/?a=b", "https://u@x.test", "https://x.test ", "https://[x"],
)
def test_no_issuer(url: str) -> None:
    """What cannot be an issuer is refused; a final slash is neither missed nor taken away."""
    with pytest.raises(CommandError, match="cannot be an issuer"):
        discovery.checked(url)
    assert discovery.checked("https://x.test/") == "https://x.test/"
    assert discovery.configuration_url("https://x.test/") == discovery.configuration_url("https://x.test")
