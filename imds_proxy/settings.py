"""Settings from a command line and an environment."""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, urlsplit

from azure_workload_identity import names
from azure_workload_identity.go_flags import FlagParser
from azure_workload_identity.logs import LEVELS
from imds_proxy.request import IDENTITY, METADATA, ImdsError, path_of

MAX_PORT: Final = 65535
MAX_CLIENT_ID: Final = 253
DEFAULT_TOKEN_FILE: Final = f"{names.DOCUMENTED_DIRECTORY}/{names.TOKEN_FILE}"
LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
VARIABLES: Final = (
    *(names.ENV_PROXY_PORT, names.ENV_TENANT_ID, names.ENV_CLIENT_ID, names.ENV_TOKEN_FILE, names.ENV_AUTHORITY_HOST),
    *(names.ENV_TOKEN_PROXY, names.ENV_TOKEN_PROXY_SNI, names.ENV_TOKEN_PROXY_CA_FILE, names.ENV_TOKEN_PROXY_CA_DATA),
    *(names.ENV_PROXY_THEN_CLIENT_ID, names.ENV_PROXY_THEN_TENANT_ID),
    *("HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
# A UUID or a domain. The other words in that place of the URL are for tokens of users.
_TENANT: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,252}", re.ASCII)
_SERVER_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*", re.ASCII)
_USER_TENANTS: Final = frozenset({"common", "organizations", "consumers"})


class SettingsError(Exception):
    """The settings are unusable; the message has a line for each problem, which says what to do."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A scheme, host, port and path prefix (without a trailing slash)."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def netloc(self) -> str:
        """Host and port as in the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class TokenProxy:
    """The custom token endpoint of identity bindings; an empty `sni` means the URL's host, no CA the system's."""

    origin: Origin
    sni: str
    ca_file: str
    ca_data: str


@dataclass(frozen=True, slots=True)
class Application:
    """The application of which the proxy gets tokens by a second exchange, and in which tenant."""

    client_id: str
    tenant_id: str


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a running proxy.

    `then` is None where one exchange is all. `environ` is kept for the variables of HTTP proxies and certificates,
    which are read later.
    """

    port: int
    log_level: str
    tenant_id: str
    client_id: str
    token_file: str
    authority: Origin
    token_proxy: TokenProxy | None
    pass_through: tuple[str, ...]
    then: Application | None
    environ: Mapping[str, str] = field(repr=False)

    @property
    def default_client_id(self) -> str:
        """Whose tokens an app gets that names no client id."""
        return self.then.client_id if self.then else self.client_id


def load(flags: argparse.Namespace, environ: Mapping[str, str]) -> Settings:
    """The settings of a server; a flag wins over its variable, and an empty variable counts as not set.

    Raises:
        SettingsError: when something is unusable.
    """
    problems: list[str] = []
    tenant = environ.get(names.ENV_TENANT_ID, "").strip()
    if tenant:
        problems += _tenant_problems(names.ENV_TENANT_ID, tenant)
    else:
        problems.append(f"{names.ENV_TENANT_ID} not set: the webhook injects it into a container that takes part")
    client = environ.get(names.ENV_CLIENT_ID, "").strip()
    then = _application(environ, Application(client, tenant), problems)
    authority = _origin(
        names.ENV_AUTHORITY_HOST,
        environ.get(names.ENV_AUTHORITY_HOST, "").strip() or names.AUTHORITY_HOSTS["azurepubliccloud"],
        problems,
        loopback=True,
    )
    token_proxy = _token_proxy(environ, problems)
    pass_through = tuple(_paths(flags.pass_through, problems))
    if problems:
        raise SettingsError("\n".join(problems))
    return Settings(
        port=flags.proxy_port,
        log_level=flags.log_level,
        tenant_id=tenant,
        client_id=client,
        token_file=environ.get(names.ENV_TOKEN_FILE) or DEFAULT_TOKEN_FILE,
        authority=authority,
        token_proxy=token_proxy,
        pass_through=pass_through,
        then=then,
        environ=environ,
    )


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    """Parse the command line (without the program's name). As in Go: one dash or two, `--flag value` or `--flag=value`.

    Raises:
        SettingsError: when it is unusable.
        SystemExit: 0 after `--help`.
    """
    flags = parser(environ).parse(arguments)
    flags.proxy_port = _port(flags.proxy_port)
    flags.probe = _boolean(flags.probe)
    if flags.log_level not in LEVELS:
        raise SettingsError(f"--log-level {flags.log_level!r} is not empty, info, debug, trace or all")
    return flags


def parser(environ: Mapping[str, str]) -> FlagParser:
    """The parser of the command line."""
    flags = FlagParser(
        "azwi-proxy",
        SettingsError,
        description="Answers the managed-identity requests of a pod with tokens of its workload identity.",
        epilog="commands: `azwi-proxy init` redirects the pod's requests to the proxy, `azwi-proxy probe` waits until "
        f"it is ready. environment variables: {', '.join(VARIABLES)}",
    )
    flags.add_argument(
        "--proxy-port",
        metavar="PORT",
        default=environ.get(names.ENV_PROXY_PORT) or str(names.DEFAULT_PROXY_PORT),
        help=f"port on 127.0.0.1 and ::1 ({names.ENV_PROXY_PORT}; {names.DEFAULT_PROXY_PORT})",
    )
    flags.add_argument("--probe", nargs="?", const="true", default="false", metavar="BOOL", help="same as `probe`")
    flags.add_argument("--log-level", default="", metavar="LEVEL", help='"" (warnings only), info, debug, trace or all')
    flags.add_argument(
        "--pass-through",
        default="",
        metavar="PATH[,PATH]",
        help="paths, with those below, to forward to IMDS",
    )
    flags.add_argument("--version", action="store_true", help="print version information and exit")
    return flags


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_PORT):
        raise SettingsError(f"--proxy-port {text!r} is not a port from 1 to {MAX_PORT}")
    return int(text)


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise SettingsError(f"--probe {text!r} is neither true nor false")
    return text.lower() == "true"


def _tenant_problems(name: str, tenant: str) -> Iterator[str]:
    if not _TENANT.fullmatch(tenant) or tenant.lower() in _USER_TENANTS:
        yield f"{name} {tenant[:64]!r} is neither a tenant's UUID nor one of its domains"


def _application(environ: Mapping[str, str], first: Application, problems: list[str]) -> Application | None:
    """The application of the second exchange, by default in the tenant of the first identity."""
    client = environ.get(names.ENV_PROXY_THEN_CLIENT_ID, "").strip()
    tenant = environ.get(names.ENV_PROXY_THEN_TENANT_ID, "").strip()
    if not client:
        if tenant:
            problems.append(
                f"{names.ENV_PROXY_THEN_TENANT_ID} is set and {names.ENV_PROXY_THEN_CLIENT_ID} is not: "
                "set both, or none"
            )
        return None
    if len(client) > MAX_CLIENT_ID or not client.isascii() or not client.isprintable() or " " in client:
        problems.append(f"{names.ENV_PROXY_THEN_CLIENT_ID} {client[:64]!r} is not a client id")
    if not first.client_id:
        problems.append(
            f"{names.ENV_PROXY_THEN_CLIENT_ID} is set and {names.ENV_CLIENT_ID}, the first identity, is not: annotate "
            f"the ServiceAccount with {names.CLIENT_ID}"
        )
    if tenant:
        problems += _tenant_problems(names.ENV_PROXY_THEN_TENANT_ID, tenant)
    return Application(client, tenant or first.tenant_id)


def _origin(name: str, url: str, problems: list[str], *, loopback: bool = False) -> Origin:
    """The origin of a URL; its problems are appended to `problems`, and never show its user part."""
    try:
        parts = urlsplit(url)
        port = parts.port
        problems += _url_problems(name, parts, loopback=loopback)
    except ValueError:
        problems.append(f"{name} is not a URL")
        return Origin("https", "", 0, "")
    default = 443 if parts.scheme == "https" else 80
    return Origin(parts.scheme, parts.hostname or "", port or default, parts.path.rstrip("/"))


def _url_problems(name: str, parts: SplitResult, *, loopback: bool) -> Iterator[str]:
    """The problems of a URL by the checks of the Azure SDKs: https, and nothing but host, port and path."""
    local = loopback and parts.scheme == "http" and parts.hostname in LOOPBACK
    if not parts.hostname or (parts.scheme != "https" and not local):
        yield f"{name} must be an https URL"
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        yield f"{name} must have no user, query or fragment"
    if not parts.path.isascii() or not parts.path.isprintable() or " " in parts.path:
        yield f"{name} has a path that cannot be sent"


def _token_proxy(environ: Mapping[str, str], problems: list[str]) -> TokenProxy | None:
    """The custom token endpoint, with the checks of the Azure SDKs."""
    url, sni, ca_file, ca_data = (
        environ.get(name, "")
        for name in (
            names.ENV_TOKEN_PROXY,
            names.ENV_TOKEN_PROXY_SNI,
            names.ENV_TOKEN_PROXY_CA_FILE,
            names.ENV_TOKEN_PROXY_CA_DATA,
        )
    )
    if ca_file and ca_data:
        problems.append(
            f"both {names.ENV_TOKEN_PROXY_CA_FILE} and {names.ENV_TOKEN_PROXY_CA_DATA} are set; only one should be set"
        )
    if sni and not _SERVER_NAME.fullmatch(sni):
        problems.append(f"{names.ENV_TOKEN_PROXY_SNI} {sni[:64]!r} is not a host name")
    if not url:
        if sni or ca_file or ca_data:
            problems.append(
                f"{names.ENV_TOKEN_PROXY} is not set but its CA or SNI name is: set it, or remove "
                f"{names.ENV_TOKEN_PROXY_SNI}, {names.ENV_TOKEN_PROXY_CA_FILE} and {names.ENV_TOKEN_PROXY_CA_DATA}"
            )
        return None
    return TokenProxy(_origin(names.ENV_TOKEN_PROXY, url.strip(), problems), sni, ca_file, ca_data)


def _paths(text: str, problems: list[str]) -> Iterator[str]:
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            path = path_of(part)
        except ImdsError:
            path = ""
        if part.startswith("/") and is_below(path, METADATA) and not is_below(path, IDENTITY) and path != METADATA:
            yield path
        else:
            problems.append(f"--pass-through {part[:200]!r} is not a path below {METADATA} outside {IDENTITY}")


def is_below(path: str, root: str) -> bool:
    """Whether a path equals another one, or is below it."""
    return path == root or path.startswith(root + "/")
