"""How a request is read."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imds_proxy.messages import Request
from imds_proxy.request import (
    IDENTITY,
    MAX_REMEMBERED_LENGTH,
    TOKEN_PATH,
    ImdsError,
    TokenRequest,
    _path_of,
    _token_request,
    check_guards,
    path_of,
    query_of,
    token_request,
)
from testbed.sidecar import CLIENT, RESOURCE

METADATA = ("metadata", "true")
# How long an example takes is the machine's affair.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def asked(query: str, client_id: str = CLIENT) -> TokenRequest:
    """Read the query of a token request."""
    return token_request(Request("GET", f"{TOKEN_PATH}?{query}", (METADATA,)), client_id)


def refused(query: str, client_id: str = CLIENT) -> str:
    """Read the query of a token request that is refused with 400; returns the message."""
    with pytest.raises(ImdsError) as caught:
        asked(query, client_id)
    assert (caught.value.status, caught.value.error) == (400, "invalid_request")
    return caught.value.message


def test_long_targets_are_not_remembered() -> None:
    """Of long targets nothing is kept, so that a client cannot fill the memory; they are read like short ones."""
    before = _path_of.cache_info().currsize, _token_request.cache_info().currsize
    for length in (MAX_REMEMBERED_LENGTH, 30_000):
        target = f"{TOKEN_PATH}?resource={RESOURCE}&x={'y' * length}"
        assert path_of(target) == TOKEN_PATH
        assert token_request(Request("GET", target, ()), CLIENT) == TokenRequest(CLIENT, RESOURCE)
    assert (_path_of.cache_info().currsize, _token_request.cache_info().currsize) == before


@pytest.mark.parametrize(
    "target",
    [
        "/metadata/identity/oauth2/token",
        "/metadata/identity/oauth2/token/",
        "/Metadata/identity/oauth2/token",
        "/METADATA/IDENTITY/OAUTH2/TOKEN",
        "//metadata/identity/oauth2/token",
        "///metadata//identity///oauth2/token//",
        "/metadata/identity/oauth2/token?resource=x",
        "/metadata/identity/oauth2/token/?resource=x",
        "/metadata/identity/oauth2/token#x",
        "/metadat%61/identity/oauth2/token",
        "/metadata%2Fidentity%2foauth2%2ftoken",
        "/%6d%65%74%61data/identity/oauth2/token",
        "/metadat%2561/identity/oauth2/token",
        "/metadata/./identity/instance/../oauth2/token",
        "/metadata/instance/%2e%2e/identity/oauth2/token",
        "/metadata\\identity%5Coauth2/token",
        "http://169.254.169.254/metadata/identity/oauth2/token",
        "HTTP://169.254.169.254:80//metadata/identity/oauth2/token?resource=x",
        "metadata/identity/oauth2/token",
    ],
)
def test_token_path(target: str) -> None:
    """However the path of a token is spelt, it is seen as that."""
    assert path_of(target) == TOKEN_PATH


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("*", "/*"),
        ("", "/"),
        ("/readyz", "/readyz"),
        ("/readyz/", "/readyz"),
        ("/metadata/", "/metadata"),
        ("/Metadata/instance/", "/metadata/instance"),
        ("/metadata/identity/oauth2/tokens", "/metadata/identity/oauth2/tokens"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("http://169.254.169.254", "/"),
    ],
)
def test_other_paths(target: str, path: str) -> None:
    """Other paths are not mistaken for it."""
    assert path_of(target) == path


@pytest.mark.parametrize(
    "target", ["/metadata%00", "/metadat%zz", "/m\xe9", "/%c3%a9", "/a%0d%0ab", "/%" + "25" * 9 + "61"]
)
def test_odd_paths(target: str) -> None:
    """An ambiguous path, or one with characters that no path has, is refused."""
    with pytest.raises(ImdsError) as caught:
        path_of(target)
    assert caught.value.status == 404


@pytest.mark.parametrize(
    "disguise", ["..;", "..;x=1", "..%3bx", ".;", "..%20", "%20..", ". .", "...", "%2e%2e%3B", "..%2520", "..;/../.."]
)
def test_disguised_dots(disguise: str) -> None:
    """A segment that some servers take for the folder above is refused, whatever follows."""
    with pytest.raises(ImdsError) as caught:
        path_of(f"/metadata/instance/{disguise}/identity/oauth2/token")
    assert caught.value.status == 404


@patient
@given(st.text(max_size=60))
def test_any_path(target: str) -> None:
    """Any target is a plain path or refused."""
    try:
        path = path_of(target)
    except ImdsError:
        return
    assert path.startswith("/")
    assert path == path_of(path)
    assert "%" not in path
    assert path == "/" or not {"", ".", ".."} & set(path[1:].split("/"))


def test_dots_in_a_name() -> None:
    """Dots that are a part of a name are no way up."""
    assert path_of("/a/0..") == "/a/0.."


@patient
@given(st.lists(st.sampled_from(["upper", "quote", "slash", "dot"]), max_size=4), st.data())
def test_spellings_of_the_identity_path(ways: list[str], data: st.DataObject) -> None:
    """No spelling of a path below /metadata/identity hides that it is one."""
    spelt = IDENTITY + "/info"
    for way in ways:
        at = data.draw(st.integers(1, len(spelt) - 1))
        if way == "upper":
            spelt = spelt[:at] + spelt[at:].upper()
        elif way == "quote" and "%" not in spelt[max(0, at - 2) : at + 1]:
            spelt = f"{spelt[:at]}%{ord(spelt[at]):02x}{spelt[at + 1 :]}"
        elif "%" not in spelt:
            spelt = spelt.replace("/", "//" if way == "slash" else "/./", 1)
    assert path_of(spelt) == IDENTITY + "/info"


def test_query() -> None:
    """The query is what stands between `?` and `#`."""
    assert query_of("/x?a=b&c=%20#d") == "a=b&c=%20"
    assert query_of("/x") == ""


@pytest.mark.parametrize("value", ["true", "True", "TRUE"])
def test_guards_pass(value: str) -> None:
    """A GET with `Metadata: true` is answered."""
    check_guards(Request("GET", "/", (("metadata", value),)))


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("GET", (), 400),
        ("GET", (("metadata", "false"),), 400),
        ("GET", (("metadata", ""),), 400),
        ("GET", (METADATA, ("x-forwarded-for", "10.0.0.1")), 400),
        ("GET", (METADATA, ("x-forwarded-for", "")), 400),
        ("POST", (METADATA,), 405),
        ("HEAD", (METADATA,), 405),
        ("PUT", (METADATA,), 405),
    ],
)
def test_guards_refuse(method: str, headers: tuple[tuple[str, str], ...], status: int) -> None:
    """Without the header, forwarded, or by another method it is refused."""
    with pytest.raises(ImdsError) as caught:
        check_guards(Request(method, "/", headers))
    assert caught.value.status == status


def test_resource_and_client() -> None:
    """The client id of the query precedes that of the pod."""
    assert asked(f"resource={RESOURCE}") == TokenRequest(CLIENT, RESOURCE)
    assert asked(f"resource={RESOURCE}&client_id=other&api-version=2018-02-01") == TokenRequest("other", RESOURCE)
    assert asked(f"Resource={RESOURCE}&client_id=") == TokenRequest(CLIENT, RESOURCE)
    assert (
        asked("resource=https%3A%2F%2Fmanagement.core.windows.net%2F").resource
        == "https://management.core.windows.net/"
    )


@pytest.mark.parametrize(
    ("resource", "scope"),
    [
        ("https://vault.azure.net", "https://vault.azure.net/.default"),
        ("https://vault.azure.net/.default", "https://vault.azure.net/.default"),
        ("https://vault.azure.net/", "https://vault.azure.net//.default"),
        ("api://app", "api://app/.default"),
        ("00000003-0000-0000-c000-000000000000", "00000003-0000-0000-c000-000000000000/.default"),
    ],
)
def test_scope(resource: str, scope: str) -> None:
    """The scope is the resource and `/.default`, which is not doubled; a slash at the end stays."""
    assert TokenRequest(CLIENT, resource).scope == scope


def test_missing_parameters() -> None:
    """Without a resource, or without any client id, the error names the missing one."""
    assert refused("") == "The resource parameter is required."
    assert refused("resource=") == "The resource parameter is required."
    assert refused(f"resource={RESOURCE}", "").startswith(
        "The client_id parameter or AZURE_CLIENT_ID environment variable must be set"
    )


@pytest.mark.parametrize("name", ["object_id", "principal_id", "msi_res_id", "mi_res_id", "MSI_RES_ID"])
def test_foreign_identities(name: str) -> None:
    """A request for another identity is refused, even with a client id beside it."""
    assert "is not supported" in refused(f"resource={RESOURCE}&client_id={CLIENT}&{name}=x")
    assert "is not supported" in refused(f"resource={RESOURCE}&{name}=&{name}=x")


@pytest.mark.parametrize(
    "query",
    [
        "resource=a&resource=b",
        "resource=a%20b",
        "resource=a%0ab",
        "resource=%c3%a9",
        "resource=%ff",
        f"resource={'a' * 1025}",
        "resource=a&client_id=b%20c",
        "resource=a&" + "&".join(f"x{number}=1" for number in range(40)),
    ],
)
def test_odd_parameters(query: str) -> None:
    """Ambiguous, unreadable and oversized parameters are refused."""
    assert refused(query)


def test_repeated_parameter() -> None:
    """A parameter that is there twice with one value is one."""
    assert asked("resource=a&resource=a").resource == "a"


def test_empty_parameters() -> None:
    """An empty parameter counts as left out, as clients without an object id send one."""
    assert asked(f"resource={RESOURCE}&object_id=&msi_res_id=&client_id=&bypass_cache=") == TokenRequest(
        CLIENT, RESOURCE
    )


@pytest.mark.parametrize(("value", "bypasses"), [("true", True), ("True", True), ("", False)])
def test_bypass_cache(value: str, bypasses: bool) -> None:  # noqa: FBT001  a parameter of the test
    """The parameter asks for a new token, which is the same token to the cache."""
    request = asked(f"resource={RESOURCE}&bypass_cache={value}")
    assert (request.bypass_cache, request == asked(f"resource={RESOURCE}")) == (bypasses, True)


@pytest.mark.parametrize("value", ["1", "false", "yes"])
def test_wrong_bypass_cache(value: str) -> None:
    """If it is there, its value must be true."""
    assert "bypass_cache must be true" in refused(f"resource={RESOURCE}&bypass_cache={value}")


def test_service_principal_name() -> None:
    """A resource may be the name of a service principal; v1.6.0 appends the default scope to it as to any other."""
    name = "spn:d2b20d7c-4b2a-4a5b-9d0e-0f6f5b1b2c3d"
    assert asked(f"resource={name}").scope == f"{name}/.default"
