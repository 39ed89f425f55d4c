"""The authorities that outgoing connections trust."""

import ssl
from pathlib import Path

import pytest
import trustme

from imds_proxy import trust
from imds_proxy.settings import Origin, TokenProxy
from imds_proxy.trust import TrustError

ORIGIN = Origin("https", "proxy.test", 443, "")
BAD = [(None, "No such file"), ("", "is empty"), ("x", "in PEM")]


def system() -> ssl.SSLContext:
    """Stand for the system's authorities."""
    raise AssertionError("not asked for")


def subjects(context: ssl.SSLContext) -> list[str]:
    """Return the names of what a context trusts."""
    return [str(certificate["subject"]) for certificate in context.get_ca_certs()]


def pem(name: str) -> str:
    """Make an authority, as PEM."""
    return trustme.CA(organization_name=name).cert_pem.bytes().decode()


def system_has(monkeypatch: pytest.MonkeyPatch, **places: str) -> None:
    """Have OpenSSL look for certificates elsewhere."""
    paths = ssl.get_default_verify_paths()._replace(**places)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)


def test_system_and_more(tmp_path: Path) -> None:
    """SSL_CERT_FILE adds to the system's authorities; every connection is verified."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(pem("corporate"))
    context = trust.system({"SSL_CERT_FILE": str(bundle)})()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert any("corporate" in subject for subject in subjects(context))


def test_directory(tmp_path: Path) -> None:
    """SSL_CERT_DIR alone is enough."""
    assert trust.system({"SSL_CERT_DIR": str(tmp_path)})().verify_mode is ssl.CERT_REQUIRED


def test_bundle_where_there_is_no_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A system whose directory is not of OpenSSL's kind has a bundle in one file."""
    (tmp_path / "bundle.pem").write_text(pem("system"))
    (tmp_path / "more.pem").write_text(pem("corporate"))
    system_has(monkeypatch, openssl_cafile=str(tmp_path / "bundle.pem"), openssl_capath=str(tmp_path))
    assert len(subjects(trust.system({})())) == 1
    assert len(subjects(trust.system({"SSL_CERT_FILE": str(tmp_path / "more.pem")})())) == 2


def test_nothing_to_trust(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any authority, the error says what to install."""
    system_has(monkeypatch, openssl_cafile=str(tmp_path / "missing"), openssl_capath=str(tmp_path / "missing"))
    with pytest.raises(TrustError, match="install ca-certificates"):
        trust.system({})


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_bundle(tmp_path: Path, content: str | None, message: str) -> None:
    """A bundle that cannot be used is named."""
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(TrustError, match=f"SSL_CERT_FILE {bundle}.*{message}"):
        trust.system({"SSL_CERT_FILE": str(bundle)})


def test_bundle_is_followed(tmp_path: Path) -> None:
    """SSL_CERT_FILE is read again when it changes, as a mounted ConfigMap does; comments may be of any script."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"# Főtanúsítvány\n{pem('first')}", encoding="utf-8")
    follow = trust.system({"SSL_CERT_FILE": str(bundle)})
    assert any("first" in subject for subject in subjects(follow()))
    bundle.write_text(pem("second"))
    assert any("second" in subject for subject in subjects(follow()))
    assert not any("first" in subject for subject in subjects(follow()))


def test_token_proxy_data() -> None:
    """The custom token endpoint's CA as data is all that is trusted."""
    context = trust.of_token_proxy(TokenProxy(ORIGIN, "", "", pem("binding")), system)()
    assert len(subjects(context)) == 1
    assert "binding" in subjects(context)[0]


def test_token_proxy_without_ca() -> None:
    """Without a CA of its own the system's authorities count."""
    assert trust.of_token_proxy(TokenProxy(ORIGIN, "", "", ""), system) is system


def test_token_proxy_file_is_followed(tmp_path: Path) -> None:
    """A CA file is read again when it changes; while it is unreadable, empty or broken, the former content stays."""
    file = tmp_path / "ca.crt"
    file.write_text(pem("first"))
    follow = trust.of_token_proxy(TokenProxy(ORIGIN, "", str(file), ""), system)
    first = follow()
    assert follow() is first
    for broken in ("", "no certificate"):
        file.write_text(broken)
        assert follow() is first
    file.unlink()
    assert follow() is first
    file.write_text(pem("second"))
    assert "second" in subjects(follow())[0]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_bad_token_proxy_file(tmp_path: Path, content: str | None, message: str) -> None:
    """At start a CA file must be usable."""
    file = tmp_path / "ca.crt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(TrustError, match=message):
        trust.of_token_proxy(TokenProxy(ORIGIN, "", str(file), ""), system)


def test_bad_token_proxy_data() -> None:
    """So must CA data."""
    with pytest.raises(TrustError, match="AZURE_KUBERNETES_CA_DATA is not certificates in PEM"):
        trust.of_token_proxy(TokenProxy(ORIGIN, "", "", "x"), system)
