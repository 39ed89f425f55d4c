"""The HTTP proxy for an outgoing connection, by the environment's HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

from imds_proxy.settings import LOOPBACK, Origin


class HttpProxyError(Exception):
    """HTTPS_PROXY cannot be used."""


@dataclass(frozen=True, slots=True)
class HttpProxy:
    """An HTTP proxy; `authorization` is the value of Proxy-Authorization, "" for none."""

    host: str
    port: int
    tls: bool
    authorization: str = field(repr=False)


_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def proxy_for(origin: Origin, environ: Mapping[str, str]) -> HttpProxy | None:
    """The proxy for an origin by HTTPS_PROXY, ALL_PROXY and NO_PROXY (or in lower case, which comes first).

    Raises:
        HttpProxyError: when the proxy's URL cannot be used.
    """
    if origin.scheme != "https" or origin.host in LOOPBACK:
        return None
    url = _variable(environ, "https_proxy") or _variable(environ, "all_proxy")
    if not url or _is_exempt(origin, _variable(environ, "no_proxy")):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except (ValueError, KeyError):
        raise HttpProxyError("HTTPS_PROXY must be http://HOST:PORT or https://HOST:PORT") from None
    if not parts.hostname:
        raise HttpProxyError("HTTPS_PROXY has no host")
    return HttpProxy(parts.hostname, port, parts.scheme == "https", _authorization(parts.username, parts.password))


def _variable(environ: Mapping[str, str], name: str) -> str:
    return (environ.get(name) or environ.get(name.upper()) or "").strip()


def _authorization(user: str | None, password: str | None) -> str:
    if user is None:
        return ""
    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()


def _is_exempt(origin: Origin, no_proxy: str) -> bool:
    return any(_matches(part.strip().lower(), origin) for part in no_proxy.split(",") if part.strip())


def _matches(part: str, origin: Origin) -> bool:
    """Whether one part of NO_PROXY matches an origin: `*`, a domain with its subdomains, an address or a range."""
    if part == "*":
        return True
    if "/" in part:
        return _in_range(part, origin.host)
    host, colon, port = part.rpartition(":")
    if colon and port.isdigit() and (":" not in host or host.endswith("]")):
        if int(port) != origin.port:
            return False
        part = host
    domain = part.strip("[]").removeprefix("*").lstrip(".")
    return bool(domain) and (origin.host == domain or origin.host.endswith("." + domain))


def _in_range(text: str, host: str) -> bool:
    try:
        return ip_address(host) in ip_network(text, strict=False)
    except ValueError:
        return False
