"""The quick starts' flags of the API server, on the real one."""

import re
from base64 import urlsafe_b64decode

from azwi_cli.issuer import discovery
from testbed.cluster.control_plane import ControlPlane
from testbed.program import ROOT


def test_flags(control_plane: ControlPlane) -> None:
    """What the quick starts set is what this API server runs with, and its documents name that issuer."""
    pages = sorted((ROOT / "docs" / "install").glob("quickstart-*.md"))
    settings = re.compile(r"service-account-[a-z-]+")
    named = {flag for page in pages for flag in settings.findall(page.read_text())}
    command = control_plane.apiserver._command
    given = dict(word.removeprefix("--").split("=", 1) for word in command if word.startswith("--service-account-"))
    assert named == {"service-account-issuer"}
    assert named <= set(given)
    published = control_plane.request("GET", discovery.CONFIGURATION_PATH)
    assert published["issuer"] == given["service-account-issuer"]
    issuers = {
        value
        for page in pages
        for value in re.findall(r"service-account-issuer(?:: |=|\n\s+value: )(https:\S+)", page.read_text())
    }
    assert len(issuers) == 1
    assert next(iter(issuers)).endswith("/") == given["service-account-issuer"].endswith("/")


def test_two_issuers(control_plane: ControlPlane, plain_namespace: str) -> None:
    """With the new issuer first and the former second, tokens of both are accepted; those of others are not."""
    server, flag = control_plane.apiserver, "--service-account-issuer=https://shopoidc.z6.web.core.windows.net/"
    former = control_plane.token(plain_namespace, "app")
    try:
        with server.away():
            server._command.insert(server._command.index("--service-account-issuer=https://issuer.azwi.test/"), flag)
        named = control_plane.request("GET", discovery.CONFIGURATION_PATH)["issuer"]
        new = control_plane.token(plain_namespace, "app")
        accepted = [authenticated(control_plane, token) for token in (former, new)]
    finally:
        with server.away():
            server._command.remove(flag)
    assert flag.endswith(f"={named}")
    assert named in urlsafe_b64decode(new.split(".")[1] + "==").decode()
    assert accepted == [True, True]
    assert [authenticated(control_plane, token) for token in (former, new)] == [True, False]


def authenticated(control_plane: ControlPlane, token: str) -> bool:
    """Whether the API server accepts a token."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    answer = control_plane.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    return bool(answer["status"].get("authenticated"))
