"""`azwi oidc`: the documents, and what is wrong with published ones."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme
from click.testing import Result

from azwi_cli.issuer import discovery
from tests.azwi_cli.issuer.test_keys import EC, RSA, public_pem
from tests.azwi_cli.test_main import azwi
from tests.support.schemas import follows_schema


@pytest.fixture
def key(tmp_path: Path) -> str:
    """Write a key and return its file."""
    (tmp_path / "sa.pub").write_bytes(public_pem(RSA))
    return str(tmp_path / "sa.pub")


class Handler(SimpleHTTPRequestHandler):
    """Files of a directory, without a word."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the directory `site` over TLS that this process trusts, and return its URL."""
    (tmp_path / "site").mkdir()
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(tmp_path / "site"))) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"https://localhost:{server.server_port}/"
        server.shutdown()


@pytest.fixture
def published(site: str, key: str, tmp_path: Path) -> Callable[..., Result]:
    """Publish both documents, and return what compares them."""
    arguments = ("oidc", "--issuer-url", site, "--public-keys", key)
    assert azwi(*arguments, "--output-dir", str(tmp_path / "site")).exit_code == 0
    return partial(azwi, *arguments, "--check")


def test_files(key: str, tmp_path: Path) -> None:
    """Each document is where it is to be published, and they agree with each other."""
    done = azwi("oidc", "--issuer-url=https://x.test/c/", f"--public-keys={key}", f"--output-dir={tmp_path / 'site'}")
    assert [Path(line).relative_to(tmp_path / "site").as_posix() for line in done.stdout.splitlines()] == [
        ".well-known/openid-configuration",
        "openid/v1/jwks",
    ]
    configuration = json.loads((tmp_path / "site/.well-known/openid-configuration").read_text())
    assert configuration == {
        "issuer": "https://x.test/c/",
        "jwks_uri": "https://x.test/c/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }
    assert json.loads((tmp_path / "site/openid/v1/jwks").read_text()) == json.loads(
        azwi("jwks", "--public-keys", key).stdout
    )


def test_json(key: str) -> None:
    """Machines get both documents by their paths."""
    done = azwi("oidc", "--issuer-url=https://x.test", f"--public-keys={key}", "-o", "json")
    assert list(follows_schema("oidc", done.stdout)) == [discovery.CONFIGURATION_PATH, discovery.JWKS_PATH]


def test_issuer_is_needed(key: str) -> None:
    """Without an issuer it is wrong usage."""
    done = azwi("oidc", "--public-keys", key)
    assert done.exit_code == 2
    assert "--issuer-url" in done.stderr


def test_impossible_issuer(key: str) -> None:
    """One that Entra could not read is wrong usage, too."""
    done = azwi("oidc", "--public-keys", key, "--issuer-url=http://x.test")
    assert done.exit_code == 2
    assert "--issuer-url: 'http://x.test' cannot be an issuer" in done.stderr


def test_check(published: Callable[..., Result]) -> None:
    """Documents that are published as they should be are found good."""
    done = published()
    assert done.exit_code == 0, done.stderr
    assert "all 1 keys" in done.stdout


def test_missing_key(published: Callable[..., Result], tmp_path: Path) -> None:
    """A key that is not published is named."""
    (tmp_path / "new.pub").write_bytes(public_pem(EC))
    done = published("--public-keys", str(tmp_path / "new.pub"))
    assert done.exit_code == 1
    assert "is not published" in done.stderr


def test_other_issuer(published: Callable[..., Result], site: str, tmp_path: Path) -> None:
    """An issuer that differs in a final slash only is reported."""
    document = tmp_path / "site/.well-known/openid-configuration"
    document.write_text(document.read_text().replace(f'"{site}"', f'"{site[:-1]}"'))
    done = published()
    assert done.exit_code == 1
    assert "every byte counts" in done.stderr


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        (".well-known/openid-configuration", None, "HTTP 404"),
        (".well-known/openid-configuration", "<html>", "a JSON object"),
        ("openid/v1/jwks", None, "HTTP 404"),
        ("openid/v1/jwks", '{"keys": []}', "has no keys"),
    ],
)
def test_broken_site(
    published: Callable[..., Result], tmp_path: Path, file: str, content: str | None, expected: str
) -> None:
    """What misses or is no document is reported with its URL."""
    if content is None:
        (tmp_path / "site" / file).unlink()
    else:
        (tmp_path / "site" / file).write_text(content)
    done = published()
    assert done.exit_code == 1
    assert expected in done.stderr


def test_untrusted(published: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that is not trusted publicly is reported."""
    monkeypatch.delenv("SSL_CERT_FILE")
    done = published()
    assert done.exit_code == 1
    assert "certificate verify failed" in done.stderr
