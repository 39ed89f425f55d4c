"""From an HTTP request to what is asked of us. Pure: what is odd here is refused before anything is done for it."""

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from imds_proxy.messages import Request

TOKEN_PATH: Final = "/metadata/identity/oauth2/token"  # noqa: S105  a path
IDENTITY: Final = "/metadata/identity"
METADATA: Final = "/metadata"
DEFAULT_SCOPE: Final = "/.default"
# Each parameter by which IMDS picks an identity that is not ours to give.
FOREIGN_IDENTITIES: Final = frozenset({"object_id", "principal_id", "msi_res_id", "mi_res_id"})
MAX_VALUE: Final = 1024
MAX_PARAMETERS: Final = 32
MAX_DECODINGS: Final = 5


class ImdsError(Exception):
    """A request that is not answered with what it asks for.

    `error` is the code of the JSON answer, `retry_after` the seconds of the header of that name, 0 for none.
    """

    def __init__(self, status: int, error: str, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The token that an app asks for."""

    client_id: str
    resource: str

    @property
    def scope(self) -> str:
        """What Entra's v2 endpoint calls the resource.

        A slash at the resource's end stays, so that the token's audience has it too: v1.6.0 does it, and services that
        compare audiences to the letter depend on it.
        """
        return self.resource if self.resource.endswith(DEFAULT_SCOPE) else self.resource + DEFAULT_SCOPE


def path_of(target: str) -> str:
    """The path that a request's target means: decoded, in lower case, without `//`, `.`, `..` or a slash at the end.

    However it is spelt, a path that the real IMDS might take for that of a token is seen as such here.

    Raises:
        ImdsError: 400, when it cannot be told.
    """
    path = _without_origin(target).partition("?")[0].partition("#")[0]
    for _ in range(MAX_DECODINGS):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    if "%" in path or not path.isascii() or not path.isprintable():
        raise ImdsError(400, "bad_request", "the path has characters or encodings that no path here has")
    return posixpath.normpath("/" + path.replace("\\", "/").lstrip("/")).lower()


def query_of(target: str) -> str:
    """The query of a request's target, as it came."""
    return target.partition("?")[2].partition("#")[0]


def check_guards(request: Request) -> None:
    """What IMDS asks of every request, so that no other server can be made to send one.

    Raises:
        ImdsError: 400, 405.
    """
    if request.method != "GET":
        raise ImdsError(405, "method_not_allowed", "only GET is answered here")
    if request.header("x-forwarded-for") is not None:
        raise ImdsError(400, "bad_request", "a request that was forwarded (X-Forwarded-For) is not answered")
    if (request.header("metadata") or "").lower() != "true":
        raise ImdsError(400, "bad_request", "Required metadata header not specified: send `Metadata: true`")


def token_request(request: Request, default_client_id: str) -> TokenRequest:
    """What a request to the token path asks for.

    Raises:
        ImdsError: 400, when that cannot be told or is not ours to give.
    """
    parameters = _parameters(query_of(request.target))
    for name in sorted(FOREIGN_IDENTITIES & parameters.keys()):
        raise ImdsError(
            400,
            "invalid_request",
            f"{name} is not supported: ask by client_id, or leave it out for the pod's own identity",
        )
    client_id = parameters.get("client_id") or default_client_id
    if not client_id:
        raise ImdsError(
            400,
            "invalid_request",
            "The client_id parameter or AZURE_CLIENT_ID environment variable must be set: "
            "annotate the ServiceAccount with azure.workload.identity/client-id, or send client_id",
        )
    resource = parameters.get("resource", "")
    if not resource:
        raise ImdsError(400, "invalid_request", "The resource parameter is required.")
    return TokenRequest(_checked("client_id", client_id), _checked("resource", resource))


def _without_origin(target: str) -> str:
    """The target of a client that took us for a forward proxy, cut to its path."""
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        return "/" + rest.partition("/")[2]
    return target


def _parameters(query: str) -> Mapping[str, str]:
    """The query's parameters, names in lower case."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ImdsError(400, "invalid_request", "the query cannot be read") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if found.setdefault(name.lower(), value) != value:
            raise ImdsError(400, "invalid_request", "a parameter is there twice, with different values")
    return found


def _checked(name: str, value: str) -> str:
    # A blank would make two scopes of one.
    if len(value) > MAX_VALUE or not value.isascii() or not value.isprintable() or " " in value:
        raise ImdsError(400, "invalid_request", f"{name} is longer than {MAX_VALUE} characters or has odd ones")
    return value
