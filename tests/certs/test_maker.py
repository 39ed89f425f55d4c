"""Certificates from a process of their own."""

from datetime import timedelta

from cryptography import x509

from certs.maker import make


def test_make() -> None:
    """A leaf for the names comes with the CA that signed it; the CA's key does not."""
    made = make(["localhost", "127.0.0.1"], timedelta(hours=1))
    leaf = x509.load_pem_x509_certificate(made.certificate.encode())
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(made.ca.encode()))
    assert made.key.startswith("-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE" not in made.ca + made.certificate
