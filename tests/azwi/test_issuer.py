"""What an issuer is; what is published below one is in test_oidc."""

import pytest

from azwi import issuer
from azwi.errors import CommandError


@pytest.mark.parametrize(
    "url",
    ["http://x.test", "x.test", "https://", "https://x.test/?a=b", "https://u@x.test", "https://x.test ", "https://[x"],
)
def test_no_issuer(url: str) -> None:
    """What cannot be an issuer is refused; a final slash is neither missed nor taken away."""
    with pytest.raises(CommandError, match="cannot be an issuer"):
        issuer.checked(url)
    assert issuer.checked("https://x.test/") == "https://x.test/"
    assert issuer.configuration_url("https://x.test/") == issuer.configuration_url("https://x.test")
