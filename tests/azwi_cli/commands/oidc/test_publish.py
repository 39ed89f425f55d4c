"""`azwi oidc publish` as people type it, against the emulator of Azure Storage and into directories."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import rsa

from azwi_cli.azure import auth
from azwi_cli.azure.blobs import Container
from azwi_cli.azure.options import AZURE_VARIABLES
from azwi_cli.console.errors import Status
from azwi_cli.issuer import publication
from azwi_cli.issuer.keys import Key
from azwi_cli.main import program
from testbed.azure_management import Azure, Failure
from testbed.azure_management.login import Credential
from testbed.azure_management.state import StoredBlob
from tests.azwi_cli.issuer.test_keys import RSA, public_pem
from tests.azwi_cli.test_main import azwi
from tests.support.schemas import follows_schema

OLD: Final = RSA
NEW: Final = rsa.generate_private_key(65537, 2048)
OLD_KID: Final = Key.of(OLD.public_key()).kid
NEW_KID: Final = Key.of(NEW.public_key()).kid
CONFIGURATION: Final = ".well-known/openid-configuration"
JWKS: Final = "openid/v1/jwks"
HEADERS: Final = ("application/json", "public, max-age=300")

Publish = Callable[..., Result]


@pytest.fixture
def keys(tmp_path: Path) -> dict[str, str]:
    """Write two public keys and return their files."""
    files = {}
    for name, key in (("old", OLD), ("new", NEW)):
        file = tmp_path / f"{name}.pub"
        file.write_bytes(public_pem(key))
        files[name] = f"--public-keys={file}"
    return files


@pytest.fixture
def publish(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Publish in the emulated account as somebody who is logged in."""
    monkeypatch.setattr(auth, "credential", lambda *_: Credential(azure))
    monkeypatch.setenv("SSL_CERT_FILE", str(azure.ca_file))
    for name in AZURE_VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def run(*flags: str, issuer: str = f"{azure.storage.site}/", account: str = azure.storage.account) -> Result:
        login = f"--tenant-id={azure.tenant}"
        arguments = ["oidc", "publish", f"--issuer-url={issuer}", f"--account-url={account}", login, *flags]
        return CliRunner().invoke(program, arguments)

    return run


def site(azure: Azure) -> dict[str, StoredBlob]:
    """Return the blobs of the static site."""
    return azure.storage.containers["$web"]


def kids(azure: Azure) -> list[str]:
    """Return the kids that are published."""
    return [key["kid"] for key in json.loads(site(azure)[JWKS].content)["keys"]]


def test_first_publication(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """Both documents are created, the JWKS first, served as JSON for five minutes, and read back as Entra does."""
    done = publish(keys["old"])
    assert done.exit_code == 0, done.output
    assert azure.writes() == [f"PUT /$web/{JWKS}", f"PUT /$web/{CONFIGURATION}"]
    assert {(blob.content_type, blob.cache_control) for blob in site(azure).values()} == {HEADERS}
    assert json.loads(site(azure)[CONFIGURATION].content)["issuer"] == f"{azure.storage.site}/"
    assert f"serves both documents and all {len(kids(azure))} keys" in done.stdout
    assert done.stderr == ""


def test_second_run(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """What is published already is left alone."""
    publish(keys["old"])
    azure.requests.clear()
    document = follows_schema("oidc-publish", publish(keys["old"], "--output=json").stdout)
    assert [it["outcome"] for it in document["documents"]] == ["unchanged", "unchanged"]
    assert document["check"] == {"served": True, "problems": []}
    assert azure.writes() == []


def test_other_headers(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """A document that is served as another type is written again."""
    publish(keys["old"])
    blob = site(azure)[JWKS]
    site(azure)[JWKS] = StoredBlob(blob.content, "application/octet-stream", "", blob.etag)
    assert "updated" in publish(keys["old"]).stdout
    assert site(azure)[JWKS].content_type == "application/json"


def test_rotation(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """A new key joins those that are published, with a warning of Entra's cache; only --drop removes one."""
    publish(keys["old"])
    done = publish(keys["new"], "--output=json")
    document = follows_schema("oidc-publish", done.stdout)
    assert [(key["kid"], key["from"] == "published before", key["new"]) for key in document["keys"]] == [
        (OLD_KID, True, False),
        (NEW_KID, False, True),
    ]
    assert f"{NEW_KID}. Entra caches" in " ".join(done.stderr.split())
    assert kids(azure) == [OLD_KID, NEW_KID]
    assert publish(keys["new"], f"--drop={OLD_KID}").exit_code == 0
    assert kids(azure) == [NEW_KID]


def test_unknown_drop(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """A key that is not there cannot be dropped, and nothing is written."""
    done = publish(keys["old"], "--drop=x")
    assert done.exit_code == 1
    assert "there is no key 'x' to drop" in done.stderr
    assert azure.writes() == []


def test_path_of_the_issuer(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """Several clusters share an account: an issuer with a path has its documents below it."""
    done = publish(keys["old"], issuer=f"{azure.storage.site}/shop/")
    assert done.exit_code == 0, done.output
    assert set(site(azure)) == {f"shop/{CONFIGURATION}", f"shop/{JWKS}"}


def test_another_issuer(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """The documents of another issuer are never replaced."""
    publish(keys["old"])
    before = dict(site(azure))
    done = publish(keys["new"], issuer=azure.storage.site)
    assert done.exit_code == 1
    assert "is the document of the issuer" in done.stderr
    assert site(azure) == before


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"d": "AQAB"}, "has a private key (kid 'x') and must not be published"),
        ({"k": "c2VjcmV0"}, "has a private key (kid 'x') and must not be published"),
        ({"privateKey": "c2VjcmV0"}, "key 'x' has members that no public key has: ['privateKey']"),
    ],
)
def test_private_keys(azure: Azure, publish: Publish, tmp_path: Path, more: dict[str, str], problem: str) -> None:
    """Nothing but public members is published, and an error repeats no value of a member."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [{"kty": "RSA", "kid": "x", "n": "AQAB", "e": "AQAB", **more}]}))
    done = publish(f"--keep={file}")
    assert done.exit_code == 1
    assert problem in " ".join(done.stderr.split())
    assert "c2VjcmV0" not in done.output
    assert azure.writes() == []


def test_too_many_keys(azure: Azure, publish: Publish, tmp_path: Path) -> None:
    """More keys than Entra reads are refused."""
    jwk = {"kty": "RSA", "alg": "RS256", "n": "AQAB", "e": "AQAB"}
    document = {"keys": [{**jwk, "kid": str(number)} for number in range(publication.MAX_KEYS + 1)]}
    (tmp_path / "jwks.json").write_text(json.dumps(document))
    done = publish(f"--keep={tmp_path / 'jwks.json'}")
    assert done.exit_code == 1
    assert "there are 101 keys, and Entra reads the first 100" in done.stderr
    assert azure.writes() == []


def test_dry_run(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """A dry run prints what would be written and writes nothing."""
    document = follows_schema("oidc-publish", publish(keys["old"], "--dry-run", "--output=json").stdout)
    assert [request["url"].removeprefix(azure.storage.account) for request in document["requests"]] == [
        f"/$web/{JWKS}",
        f"/$web/{CONFIGURATION}",
    ]
    assert document["check"] is None
    text = publish(keys["old"], "--dry-run").stdout
    assert "would be created" in text
    assert f'"kid": "{OLD_KID}"' in text
    assert azure.writes() == []
    publish(keys["old"])
    assert "Nothing to change." in publish(keys["old"], "--dry-run").stdout


@pytest.mark.parametrize(
    ("permissions", "containers", "expected"),
    [
        (set(), ["$web"], "Storage Blob Data Contributor"),
        ({"*"}, [], "--static-website"),
    ],
)
def test_refused(
    azure: Azure, publish: Publish, keys: dict[str, str], permissions: set[str], containers: list[str], expected: str
) -> None:
    """A refusal of Azure is reported with its code and with what is missing."""
    azure.permissions = permissions
    azure.storage.containers = {name: {} for name in containers}
    done = publish(keys["old"])
    assert done.exit_code == 1
    assert expected in " ".join(done.stderr.split())
    assert "(AuthorizationPermissionMismatch)" in done.stderr or "(ContainerNotFound)" in done.stderr


@pytest.mark.parametrize("before", [True, False])
def test_race(
    azure: Azure, publish: Publish, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, before: bool
) -> None:
    """What another run has published between reading and writing is not overwritten."""
    if before:
        publish(keys["old"])
    put = Container.put

    def late(container: Container, *arguments: Any) -> None:  # noqa: ANN401  those of put
        site(azure)[JWKS] = StoredBlob(b"{}", *HEADERS, '"other"')
        put(container, *arguments)

    monkeypatch.setattr(Container, "put", late)
    done = publish(keys["new"])
    assert done.exit_code == 1
    assert "was changed meanwhile" in done.stderr
    assert site(azure)[JWKS].content == b"{}"


def test_repeated_request(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """A write that Azure carried out and answered with an error is found to be done when it is repeated."""
    azure.faults.failures.append(Failure(500, "InternalError", method="PUT", fragment=JWKS, after=True))
    done = publish(keys["old"])
    assert done.exit_code == 0, done.output
    assert azure.writes().count(f"PUT /$web/{JWKS}") == 2


def test_not_served(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """Documents that the issuer's URL does not serve end the command with the reason, though they are published."""
    done = publish(keys["old"], "--container=other")
    assert "ContainerNotFound" in done.stderr
    azure.storage.containers["other"] = {}
    done = publish(keys["old"], "--container=other")
    assert done.exit_code == 1
    assert "answers with HTTP 404" in done.stderr
    assert set(azure.storage.containers["other"]) == {CONFIGURATION, JWKS}
    assert publish(keys["old"], "--container=other", "--no-check").exit_code == 0


def test_former_documents(azure: Azure, publish: Publish, keys: dict[str, str]) -> None:
    """A cache that still serves the former documents is found: each difference is named."""
    publish(keys["old"])
    stale = dict(site(azure))
    azure.storage.containers["other"] = {}
    assert publish(keys["new"], "--container=other", "--no-check").exit_code == 0
    assert site(azure) == stale
    done = publish(keys["new"], "--container=other", "--output=json")
    assert done.exit_code == 1
    assert [
        problem.partition(" ")[2] for problem in follows_schema("oidc-publish", done.stdout)["check"]["problems"]
    ] == [
        f"lacks the key {NEW_KID}",
        f"still has the keys {[OLD_KID]!a}",
    ]


def test_interrupted(azure: Azure, publish: Publish, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between both documents ends with 130 before one names the other, and a second run completes."""
    put = Container.put

    def stop(container: Container, name: str, *arguments: Any) -> None:  # noqa: ANN401  those of put
        if name == CONFIGURATION:
            raise KeyboardInterrupt
        put(container, name, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Container, "put", stop)
        assert publish(keys["old"]).exit_code == Status.INTERRUPTED
    assert set(site(azure)) == {JWKS}
    assert publish(keys["old"]).exit_code == 0
    assert set(site(azure)) == {JWKS, CONFIGURATION}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"<html>", "is not a JSON object"),
        (b'{"keys": 1}', "is not a JWKS"),
        (b" " * (1 << 20) + b"{}", "has more than 1024 KiB"),
    ],
)
def test_foreign_blobs(azure: Azure, publish: Publish, keys: dict[str, str], content: bytes, expected: str) -> None:
    """A blob that is no JWKS is not replaced."""
    site(azure)[JWKS] = StoredBlob(content, *HEADERS, '"1"')
    done = publish(keys["old"])
    assert done.exit_code == 1
    assert expected in done.stderr
    assert azure.writes() == []


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (("--account-url=http://shopoidc.blob.core.windows.net",), "is not an https address"),
        (("--account-url=https://shopoidc.blob.core.windows.net/$web",), "--account-url has a path"),
        ((), "give --account-url or --directory"),
        (("--account-url=https://x.test", "--directory=site"), "give --account-url or --directory"),
    ],
)
def test_usage(keys: dict[str, str], flags: tuple[str, ...], expected: str) -> None:
    """A place that cannot be one is wrong usage."""
    done = azwi("oidc", "publish", "--issuer-url=https://x.test/", keys["old"], *flags)
    assert done.exit_code == Status.USAGE
    assert expected in done.stderr


def test_flags_before_the_name() -> None:
    """Flags of publish that stand before its name are wrong usage, with the right order."""
    done = azwi("oidc", "--from-cluster", "publish")
    assert done.exit_code == Status.USAGE
    assert "azwi oidc publish FLAGS" in done.stderr


def test_directory(keys: dict[str, str], tmp_path: Path) -> None:
    """A directory gets both documents and keeps published keys; it is not read back, as nothing may serve it yet."""
    root = tmp_path / "site"
    arguments = ("oidc", "publish", "--issuer-url=https://x.test/", f"--directory={root}")
    first = azwi(*arguments, keys["old"])
    assert first.exit_code == 0, first.output
    assert azwi(*arguments, keys["new"]).exit_code == 0
    files = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    assert files == [CONFIGURATION, JWKS]
    assert [key["kid"] for key in json.loads((root / JWKS).read_text())["keys"]] == [OLD_KID, NEW_KID]
    assert (root / JWKS).stat().st_mode & 0o777 == 0o644
    assert "unchanged" in azwi(*arguments, keys["new"]).stdout
    dry = azwi(*arguments, keys["new"], f"--drop={OLD_KID}", "--dry-run", "--output=json")
    (request,) = follows_schema("oidc-publish", dry.stdout)["requests"]
    assert (request["method"], request["url"]) == ("WRITE", str(root / JWKS))


def test_unwritable_directory(keys: dict[str, str], tmp_path: Path) -> None:
    """A directory that cannot be written is an error with its file, and no half of a document stays."""
    (tmp_path / "openid").write_text("")
    done = azwi("oidc", "publish", "--issuer-url=https://x.test/", f"--directory={tmp_path}", keys["old"])
    assert done.exit_code == 1
    assert "openid/v1/jwks" in done.stderr
    assert not (tmp_path / ".well-known").exists()
