"""Settings from a command line and an environment."""

import pytest

from imds_proxy.settings import Application, Origin, Settings, SettingsError, TokenProxy, is_below, load, parse

ENVIRON = {"AZURE_TENANT_ID": "contoso.onmicrosoft.com"}
PROXY_URL = "https://token-proxy.test/bindings/"


def loaded(*flags: str, **environ: str) -> Settings:
    """Load settings with a tenant, flags and variables."""
    variables = {**ENVIRON, **environ}
    return load(parse(flags, variables), variables)


def fault(*flags: str, **environ: str) -> str:
    """Load unusable settings; returns the error."""
    with pytest.raises(SettingsError) as caught:
        loaded(*flags, **environ)
    return str(caught.value)


def test_defaults() -> None:
    """Only the tenant is required."""
    settings = loaded()
    assert (settings.port, settings.log_level, settings.client_id) == (8000, "", "")
    assert settings.token_file == "/var/run/secrets/azure/tokens/azure-identity-token"
    assert settings.authority == Origin("https", "login.microsoftonline.com", 443, "")
    assert (settings.token_proxy, settings.pass_through) == (None, ())


@pytest.mark.parametrize("flags", [["--proxy-port=8080"], ["--proxy-port", "8080"], ["-proxy-port=8080"]])
def test_v160_flags(flags: list[str]) -> None:
    """Flags may be written as for Go's flag package, and win over the variable."""
    assert loaded(*flags, PROXY_PORT="9000").port == 8080
    assert loaded(PROXY_PORT="9000").port == 9000


@pytest.mark.parametrize(("text", "probes"), [("--probe", True), ("--probe=true", True), ("--probe=false", False)])
def test_probe(text: str, probes: bool) -> None:  # noqa: FBT001  a parameter of the test
    """The flag is a boolean with or without a value."""
    assert parse([text], {}).probe is probes


@pytest.mark.parametrize("port", ["0", "65536", "http", "", "-1", "8_000", "٨٠٠٠", "9" * 5000])
def test_bad_port(port: str) -> None:
    """An invalid port is named."""
    assert "is not a port from 1 to 65535" in fault(f"--proxy-port={port}")


@pytest.mark.parametrize("flag", ["--log-level=loud", "--probe=maybe", "--prox=1", "extra"])
def test_bad_flags(flag: str) -> None:
    """An invalid flag is named."""
    assert flag.partition("=")[0].removeprefix("--") in fault(flag)


@pytest.mark.parametrize("tenant", ["9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e", "contoso.onmicrosoft.com"])
def test_tenant(tenant: str) -> None:
    """A tenant is a UUID or a domain."""
    assert loaded(AZURE_TENANT_ID=f" {tenant} ").tenant_id == tenant


@pytest.mark.parametrize("tenant", ["common", "organizations", "consumers", "a/b", "a b", "..", "a?b", "é", "a" * 300])
def test_bad_tenant(tenant: str) -> None:
    """Anything else, and the words for any tenant, are refused."""
    assert "neither a tenant's UUID nor" in fault(AZURE_TENANT_ID=tenant)


def test_no_tenant() -> None:
    """Without one, the error is that of v1.6.0."""
    assert fault(AZURE_TENANT_ID="").startswith("AZURE_TENANT_ID not set")


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://login.microsoftonline.us/", Origin("https", "login.microsoftonline.us", 443, "")),
        ("https://adfs.test:8443/adfs/", Origin("https", "adfs.test", 8443, "/adfs")),
        ("http://127.0.0.1:9000", Origin("http", "127.0.0.1", 9000, "")),
        ("http://[::1]:9000/", Origin("http", "::1", 9000, "")),
    ],
)
def test_authority(url: str, origin: Origin) -> None:
    """The login endpoint is https, or on this machine."""
    assert loaded(AZURE_AUTHORITY_HOST=url).authority == origin


@pytest.mark.parametrize(
    "url",
    [
        "http://login.microsoftonline.com/",
        "http://127.0.0.1.evil.test/",
        "login.microsoftonline.com",
        "https://",
        "https://user:secret@login.test/",
        "https://login.test/?a",
        "https://login.test/#a",
        "https://login.test/a b",
        "https://login.test:99999/",
        "https://[::1/",
        "ftp://login.test/",
    ],
)
def test_bad_authority(url: str) -> None:
    """Anything else is refused, and a secret in it is not shown."""
    message = fault(AZURE_AUTHORITY_HOST=url)
    assert message.startswith("AZURE_AUTHORITY_HOST ")
    assert "secret" not in message


def test_netloc() -> None:
    """The Host header names a port that is not the scheme's own, and IPv6 in brackets."""
    assert Origin("https", "a", 443, "").netloc == "a"
    assert Origin("https", "a", 80, "").netloc == "a:80"
    assert Origin("http", "::1", 80, "").netloc == "[::1]"


def test_token_proxy() -> None:
    """The custom token endpoint has a URL, a name and a CA."""
    settings = loaded(
        AZURE_KUBERNETES_TOKEN_PROXY=PROXY_URL, AZURE_KUBERNETES_SNI_NAME="name", AZURE_KUBERNETES_CA_FILE="/ca.crt"
    )
    origin = Origin("https", "token-proxy.test", 443, "/bindings")
    assert settings.token_proxy == TokenProxy(origin, "name", "/ca.crt", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1/", "https://u:p@x/", "https://x/?q", "https://x/#f", "x"])
def test_bad_token_proxy(url: str) -> None:
    """Its URL is checked as the Azure SDKs do: https without exception, no user, query or fragment."""
    assert fault(AZURE_KUBERNETES_TOKEN_PROXY=url).startswith("AZURE_KUBERNETES_TOKEN_PROXY ")


@pytest.mark.parametrize("name", [".x", "a..b", "a b", "é", "x."])
def test_bad_server_name(name: str) -> None:
    """Its name must be one that TLS can carry."""
    assert "is not a host name" in fault(AZURE_KUBERNETES_TOKEN_PROXY=PROXY_URL, AZURE_KUBERNETES_SNI_NAME=name)


def test_two_certificate_authorities() -> None:
    """A CA as a file and as data are one too many, as for the SDKs."""
    message = fault(
        AZURE_KUBERNETES_TOKEN_PROXY=PROXY_URL, AZURE_KUBERNETES_CA_FILE="/ca.crt", AZURE_KUBERNETES_CA_DATA="x"
    )
    assert "only one should be set" in message


@pytest.mark.parametrize("name", ["AZURE_KUBERNETES_SNI_NAME", "AZURE_KUBERNETES_CA_FILE", "AZURE_KUBERNETES_CA_DATA"])
def test_parts_without_token_proxy(name: str) -> None:
    """A CA or name without an endpoint is refused, as by the SDKs."""
    assert "AZURE_KUBERNETES_TOKEN_PROXY is not set" in fault(**{name: "x"})


def test_pass_through() -> None:
    """Paths below /metadata may be passed, however they are written."""
    assert loaded("--pass-through=/metadata/instance, /Metadata//versions/").pass_through == (
        "/metadata/instance",
        "/metadata/versions",
    )


@pytest.mark.parametrize(
    "path",
    [
        *("/metadata", "/", "instance", "/metadata/identity", "/Metadata/Identity/info", "/machine", "/metadata/%00"),
        "/metadata/instance/../identity/oauth2/token",
    ],
)
def test_bad_pass_through(path: str) -> None:
    """Everything, the identity's paths and other services are never passed."""
    assert "is not a path below /metadata outside /metadata/identity" in fault(f"--pass-through={path}")


def test_all_problems_are_reported() -> None:
    """Each problem has a line."""
    assert len(fault(AZURE_TENANT_ID="", AZURE_AUTHORITY_HOST="x").splitlines()) == 2


def test_is_below() -> None:
    """A path is below another by whole segments."""
    assert is_below("/a/b", "/a")
    assert is_below("/a", "/a")
    assert not is_below("/ab", "/a")


def test_second_exchange() -> None:
    """The application of a second exchange is the default identity, in the pod's tenant unless another is named."""
    variables = {"AZURE_CLIENT_ID": "first", "PROXY_THEN_CLIENT_ID": " app "}
    assert loaded(**variables).then == Application("app", ENVIRON["AZURE_TENANT_ID"])
    assert loaded(**variables).default_client_id == "app"
    assert loaded(**variables, PROXY_THEN_TENANT_ID="fabrikam.test").then == Application("app", "fabrikam.test")
    assert (loaded(AZURE_CLIENT_ID="first").then, loaded(AZURE_CLIENT_ID="first").default_client_id) == (None, "first")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"PROXY_THEN_TENANT_ID": "fabrikam.test"}, "PROXY_THEN_CLIENT_ID is not: set both, or none"),
        ({"PROXY_THEN_CLIENT_ID": "app", "AZURE_CLIENT_ID": ""}, "AZURE_CLIENT_ID, the first identity, is not"),
        ({"PROXY_THEN_CLIENT_ID": "a b"}, "PROXY_THEN_CLIENT_ID 'a b' is not a client id"),
        ({"PROXY_THEN_CLIENT_ID": "a" * 254}, "is not a client id"),
        ({"PROXY_THEN_CLIENT_ID": "app", "PROXY_THEN_TENANT_ID": "common"}, "PROXY_THEN_TENANT_ID 'common' is neither"),
        ({"PROXY_THEN_CLIENT_ID": "app", "PROXY_THEN_TENANT_ID": "../x"}, "PROXY_THEN_TENANT_ID '../x' is neither"),
    ],
)
def test_bad_second_exchange(variables: dict[str, str], expected: str) -> None:
    """What a second exchange cannot do without, and what cannot be an id, is named."""
    assert expected in fault(**{"AZURE_CLIENT_ID": "first", **variables})
