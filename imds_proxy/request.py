"""Reads an HTTP request: its path, its guards, the token that it asks for. Pure, and strict before any work is done."""

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
# The other parameters by which IMDS selects an identity. A pod has no identity under these.
UNSUPPORTED_PARAMETERS: Final = frozenset({"object_id", "principal_id", "msi_res_id", "mi_res_id"})
MAX_VALUE: Final = 1024
MAX_PARAMETERS: Final = 32
MAX_DECODINGS: Final = 5


class ImdsError(Exception):
    """A request that gets an error response.

    `error` is the code in the JSON body, `retry_after` the seconds of the header of that name, 0 for none.
    """

    def __init__(self, status: int, error: str, message: str, retry_after: int = 0) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The token that an app requests."""

    client_id: str
    resource: str

    @property
    def scope(self) -> str:
        """The scope for Entra's v2 endpoint.

        A trailing slash of the resource stays, so that the token's audience has it too: v1.6.0 does so, and services
        that compare audiences exactly depend on it.
        """
        return self.resource if self.resource.endswith(DEFAULT_SCOPE) else self.resource + DEFAULT_SCOPE


def path_of(target: str) -> str:
    """The normalized path of a request's target: decoded, in lower case, without `//`, `.`, `..` or a trailing slash.

    However it is spelled, a path that the real IMDS might take for the token path is recognized as such here.

    Raises:
        ImdsError: 400, when the path is ambiguous.
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
    """The query of a request's target, as it was sent."""
    return target.partition("?")[2].partition("#")[0]


def check_guards(request: Request) -> None:
    """Check what IMDS requires of every request, so that no other server can be tricked into sending one.

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
    """The token that a request to the token path asks for.

    Raises:
        ImdsError: 400, when a parameter is missing, ambiguous or not supported.
    """
    parameters = _parameters(query_of(request.target))
    for name in sorted(UNSUPPORTED_PARAMETERS & parameters.keys()):
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
    """The path and query of a target in absolute form, as clients send it to a forward proxy."""
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in {"http", "https"}:
        return "/" + rest.partition("/")[2]
    return target


def _parameters(query: str) -> Mapping[str, str]:
    """The parameters of a query, names in lower case."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ImdsError(400, "invalid_request", "the query cannot be read") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if parameters.setdefault(name.lower(), value) != value:
            raise ImdsError(400, "invalid_request", "a parameter is there twice, with different values")
    return parameters


def _checked(name: str, value: str) -> str:
    # A space would make two scopes out of one.
    if len(value) > MAX_VALUE or not value.isascii() or not value.isprintable() or " " in value:
        raise ImdsError(400, "invalid_request", f"{name} is longer than {MAX_VALUE} characters or has odd ones")
    return value
