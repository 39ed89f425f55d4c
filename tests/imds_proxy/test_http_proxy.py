"""The HTTP proxy of an outgoing connection."""

import pytest

from imds_proxy.http_proxy import HttpProxy, HttpProxyError, proxy_for
from imds_proxy.settings import Origin

ENTRA = Origin("https", "login.microsoftonline.com", 443, "")
PROXY = "http://proxy.test:3128"


def test_no_proxy_set() -> None:
    """Without a variable the way is straight; HTTP_PROXY is for other schemes."""
    assert proxy_for(ENTRA, {}) is None
    assert proxy_for(ENTRA, {"HTTP_PROXY": PROXY, "http_proxy": PROXY}) is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_proxy(name: str) -> None:
    """Each usual variable names the proxy."""
    assert proxy_for(ENTRA, {name: PROXY}) == HttpProxy("proxy.test", 3128, tls=False, authorization="")


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("proxy.test:3128", HttpProxy("proxy.test", 3128, tls=False, authorization="")),
        ("http://proxy.test", HttpProxy("proxy.test", 80, tls=False, authorization="")),
        ("https://proxy.test", HttpProxy("proxy.test", 443, tls=True, authorization="")),
        ("http://u%40x:p@proxy.test:1", HttpProxy("proxy.test", 1, tls=False, authorization="Basic dUB4OnA=")),
        ("http://[fd00::1]:3128/", HttpProxy("fd00::1", 3128, tls=False, authorization="")),
    ],
)
def test_urls(url: str, proxy: HttpProxy) -> None:
    """A proxy's URL may lack its scheme and its port, and may have a user."""
    assert proxy_for(ENTRA, {"HTTPS_PROXY": url}) == proxy


@pytest.mark.parametrize("url", ["socks5://proxy.test", "http://", "http://proxy.test:x", "http://[proxy"])
def test_bad_urls(url: str) -> None:
    """An unusable URL is refused without being shown, since it may contain a password."""
    with pytest.raises(HttpProxyError) as caught:
        proxy_for(ENTRA, {"HTTPS_PROXY": url})
    assert url not in str(caught.value)


def test_password_is_not_printed() -> None:
    """The password of a proxy is not in its repr."""
    assert "dTpw" not in repr(proxy_for(ENTRA, {"HTTPS_PROXY": "http://u:p@proxy.test"}))


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("*", "login.test"),
        ("login.test", "login.test"),
        ("LOGIN.test", "login.test"),
        ("test", "login.test"),
        (".test", "login.test"),
        ("*.test", "login.test"),
        ("other , login.test", "login.test"),
        ("login.test:443", "login.test"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/8", "10.1.2.3"),
        ("fd00::/8", "fd00::1"),
        ("[fd00::1]", "fd00::1"),
        ("[fd00::1]:443", "fd00::1"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_exempt(no_proxy: str, host: str) -> None:
    """NO_PROXY names hosts, domains, addresses, ranges and ports."""
    assert proxy_for(Origin("https", host, 443, ""), {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}) is None


@pytest.mark.parametrize(
    ("no_proxy", "host"),
    [
        ("", "login.test"),
        ("ogin.test", "login.test"),
        ("login.test:444", "login.test"),
        (".", "login.test"),
        ("10.0.0.0/8", "11.1.2.3"),
        ("10.0.0.0/8", "login.test"),
        ("10.0.0.0/99", "10.0.0.1"),
    ],
)
def test_not_exempt(no_proxy: str, host: str) -> None:
    """Nothing else is exempt."""
    assert proxy_for(Origin("https", host, 443, ""), {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy}) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine(host: str) -> None:
    """This machine is never reached through a proxy."""
    assert proxy_for(Origin("https", host, 443, ""), {"HTTPS_PROXY": PROXY}) is None
