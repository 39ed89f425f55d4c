"""What the app is answered, in the words of IMDS."""

from dataclasses import dataclass
from typing import Final

import orjson

from imds_proxy.messages import Headers, Response
from imds_proxy.request import ImdsError, TokenRequest

# What carries a token is kept by nobody on the way.
JSON: Final[Headers] = (("content-type", "application/json; charset=utf-8"), ("cache-control", "no-store"))
TEXT: Final[Headers] = (("content-type", "text/plain; charset=utf-8"),)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token; times are Unix seconds."""

    secret: str
    token_type: str
    received: float
    expires: float
    extended: float

    def __repr__(self) -> str:
        """Nothing of the secret, wherever this is printed."""
        return f"Token(expires={self.expires:.0f})"


def token(asked: TokenRequest, given: Token, now: float) -> Response:
    """A token, as IMDS writes it: every number is a string, times are Unix seconds."""
    document = {
        "access_token": given.secret,
        "client_id": asked.client_id,
        "expires_in": str(max(1, int(given.expires - now))),
        "expires_on": str(int(given.expires)),
        "ext_expires_in": str(max(1, int(given.extended - now))),
        "not_before": str(int(given.received)),
        "resource": asked.resource,
        "token_type": given.token_type,
    }
    return Response(200, orjson.dumps(document), JSON)


def failure(error: ImdsError) -> Response:
    """An error, in the shape that SDKs read."""
    headers = JSON
    if error.retry_after:
        headers = (*headers, ("retry-after", str(error.retry_after)))
    if error.status == 405:  # noqa: PLR2004  the one status that must name a method
        headers = (*headers, ("allow", "GET"))
    return Response(error.status, orjson.dumps({"error": error.error, "error_description": error.message}), headers)
