"""Reads an HTTP request: its path, its guards, the token that it asks for. Pure, and strict before any work is done."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
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
# SDKs wait for a Retry-After: the one for Go gives up above 25 s, the one for JavaScript waits three times.
MAX_RETRY_AFTER: Final = 20
_SCHEMES: Final = frozenset({"http", "https"})
MAX_PARAMETERS: Final = 32
MAX_DECODINGS: Final = 5
# Servers differ in whether `..;a`, `.. ` and `...` mean the folder above: they cut parameters, blanks or dots off.
_DISGUISED_DOTS: Final = re.compile(r"(?!\.{1,2}$)[ .]*\.[ .]*(;.*)?")
# The addresses of IMDS and of this proxy. A page that has its own name resolve to them (DNS rebinding) sends that name.
_HOSTS: Final = frozenset(
    {"169.254.169.254", "127.0.0.1", "localhost", "[::1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]"}
)
MAX_PORT_DIGITS: Final = 5
# Apps repeat a few targets: so many, of so many characters, are read once. What is refused is read each time.
MAX_REMEMBERED: Final = 64
MAX_REMEMBERED_LENGTH: Final = 1024


class ImdsError(Exception):
    """A request that gets an error response.

    `error` is the code in the JSON body, `retry_after` the seconds of the header of that name, 0 for none. `hold_off`
    is the wait in seconds that Microsoft Entra asked for, which may be longer than any client waits; 0 for none.
    """

    def __init__(self, status: int, error: str, message: str, retry_after: int = 0, hold_off: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.message = message
        self.retry_after = retry_after
        self.hold_off = hold_off


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """The token that an app requests; `bypass_cache` makes no other token of it."""

    client_id: str
    resource: str
    bypass_cache: bool = field(default=False, compare=False)

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
        ImdsError: 404, when the path is ambiguous. No such path is served.
    """
    return _path_of(target) if len(target) <= MAX_REMEMBERED_LENGTH else _path_of.__wrapped__(target)


@lru_cache(MAX_REMEMBERED)
def _path_of(target: str) -> str:
    path = _without_origin(target).partition("?")[0].partition("#")[0]
    for _ in range(MAX_DECODINGS):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    if "%" in path or not path.isascii() or not path.isprintable():
        raise ImdsError(404, "not_found", "the path has characters or encodings that no path here has")
    path = path.replace("\\", "/")
    if "." in path and any(_DISGUISED_DOTS.fullmatch(segment) for segment in path.split("/")):
        raise ImdsError(404, "not_found", "the path has dots that servers understand differently")
    return posixpath.normpath("/" + path.lstrip("/")).lower()


def query_of(target: str) -> str:
    """The query of a request's target, as it was sent."""
    return target.partition("?")[2].partition("#")[0]


def check_host(request: Request) -> None:
    """Check that a request is addressed to IMDS or to loopback; HTTP/1.0 may leave the address out.

    Raises:
        ImdsError: 400.
    """
    for name, value in request.headers:
        if name == "host":
            _check_own(value)
    if not request.target.startswith("/"):
        scheme, separator, rest = request.target.partition("://")
        if separator and scheme.lower() in _SCHEMES:
            _check_own(rest.partition("/")[0].partition("?")[0])


def _check_own(host: str) -> None:
    host = host.lower()
    if host in _HOSTS:
        return
    name, _, port = host.rpartition(":")
    if name not in _HOSTS or len(port) > MAX_PORT_DIGITS or not port.isascii() or not port.isdigit():
        raise ImdsError(400, "bad_request", "the Host header names neither 169.254.169.254 nor loopback")


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
    """The token that a request to the token path asks for. An empty parameter counts as left out, as in v1.6.0.

    Raises:
        ImdsError: 400, when a parameter is missing, ambiguous or not supported.
    """
    target = request.target
    read = _token_request if len(target) <= MAX_REMEMBERED_LENGTH else _token_request.__wrapped__
    return read(target, default_client_id)


@lru_cache(MAX_REMEMBERED)
def _token_request(target: str, default_client_id: str) -> TokenRequest:
    parameters = _parameters(query_of(target))
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
    return TokenRequest(_checked("client_id", client_id), _checked("resource", resource), _bypass_cache(parameters))


def _without_origin(target: str) -> str:
    """The path and query of a target in absolute form, as clients send it to a forward proxy."""
    scheme, separator, rest = target.partition("://")
    if separator and scheme.lower() in _SCHEMES:
        return "/" + rest.partition("/")[2]
    return target


def _parameters(query: str) -> Mapping[str, str]:
    """The parameters of a query that have a value, names in lower case."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ImdsError(400, "invalid_request", "the query cannot be read") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if value and parameters.setdefault(name.lower(), value) != value:
            raise ImdsError(400, "invalid_request", "a parameter is there twice, with different values")
    return parameters


def _bypass_cache(parameters: Mapping[str, str]) -> bool:
    """IMDS's specification: if provided, the value must be 'true'."""
    value = parameters.get("bypass_cache", "").lower()
    if value not in {"", "true"}:
        raise ImdsError(400, "invalid_request", "bypass_cache must be true, or left out")
    return value == "true"


def _checked(name: str, value: str) -> str:
    # A space would make two scopes out of one.
    if len(value) > MAX_VALUE or not value.isascii() or not value.isprintable() or " " in value:
        raise ImdsError(400, "invalid_request", f"{name} is longer than {MAX_VALUE} characters or has odd ones")
    return value
