"""The responses that an app gets, in the format of IMDS."""

from dataclasses import dataclass
from typing import Final

import orjson

from imds_proxy.messages import Headers, Response
from imds_proxy.request import ImdsError, TokenRequest

# A response with a token must not be cached on its way.
JSON: Final[Headers] = (("content-type", "application/json; charset=utf-8"), ("cache-control", "no-store"))
TEXT: Final[Headers] = (("content-type", "text/plain; charset=utf-8"),)
METHOD_NOT_ALLOWED: Final = 405


@dataclass(frozen=True, slots=True)
class AccessToken:
    """An access token; times are seconds of the monotonic clock.

    Its lifetime counts from `requested`, just before the request was sent, so that it ends no later than Entra says.
    `extended` is the end of the validity that Entra grants in an outage.
    """

    secret: str
    token_type: str
    requested: float
    expires: float
    extended: float

    def __repr__(self) -> str:
        """Leave the secret out, wherever this is printed."""
        return f"AccessToken(expires={self.expires:.0f})"


def token_response(request: TokenRequest, token: AccessToken, unix: float, now: float) -> Response:
    """A token as IMDS writes it: every number is a string, times are Unix seconds.

    `unix` and `now` are the present by the time of day and, read after it, by the monotonic clock.
    """
    document = {
        "access_token": token.secret,
        "client_id": request.client_id,
        "expires_in": str(max(1, int(token.expires - now))),
        "expires_on": str(int(unix + (token.expires - now))),
        "ext_expires_in": str(max(1, int(token.extended - now))),
        "not_before": str(int(unix - (now - token.requested))),
        "resource": request.resource,
        "token_type": token.token_type,
    }
    return Response(200, orjson.dumps(document), JSON)


def error_response(error: ImdsError) -> Response:
    """An error, in the format that SDKs read."""
    headers = JSON
    if error.retry_after:
        headers = (*headers, ("retry-after", str(error.retry_after)))
    if error.status == METHOD_NOT_ALLOWED:
        headers = (*headers, ("allow", "GET"))
    return Response(error.status, orjson.dumps({"error": error.error, "error_description": error.message}), headers)
