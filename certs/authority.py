"""X.509 as values: a certificate authority and the leaf it issues. No I/O, no clock."""

from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from certs.key_pair import KeyPair

# Clocks of API servers may be behind this one: certificates are valid from a little before now. A certificate that is
# valid for seconds only starts at most this fraction of its validity earlier.
CLOCK_SKEW: Final = timedelta(minutes=5)
CLOCK_SKEW_FRACTION: Final = 1 / 10
# Clients look at the alternative names only. A common name has 64 characters at most, fewer than many a Service's.
LEAF_COMMON_NAME: Final = "azure-workload-identity-webhook"
# Everything that parsing or verifying arbitrary content can raise.
PARSE_ERRORS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    VerificationError,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


def make_authority(common_name: str, now: datetime, lifetime: timedelta) -> KeyPair:
    """A self-signed CA with an ECDSA P-256 key, valid from a little before `now`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(common_name)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        _builder(name, name, key, now, lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    return _signed(builder, key, key)


def issue(authority: KeyPair, dns_names_or_ips: list[str], now: datetime, lifetime: timedelta) -> KeyPair:
    """A server certificate for these names, signed by `authority`.

    Raises:
        ValueError: `authority` is not a certificate with its private key.
    """
    ca, ca_key = load(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(_name(LEAF_COMMON_NAME), ca.subject, key, now, lifetime)
        .add_extension(x509.SubjectAlternativeName([_subject(name) for name in dns_names_or_ips]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    return _signed(builder, key, ca_key)


def load(pair: KeyPair) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Parse the certificate (the first of a chain) and its private key.

    Raises:
        ValueError: one cannot be parsed, they do not belong together, or the key is not an elliptic-curve key.
    """
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    try:
        key = serialization.load_pem_private_key(pair.key, None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("the key is encrypted or of an unknown type") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is not an elliptic-curve key")  # noqa: TRY004  wrong content, not a wrong type
    if key.public_key() != certificate.public_key():
        raise ValueError("the key does not belong to the certificate")
    return certificate, key


def verify(leaf: KeyPair, authority: x509.Certificate, name: str, now: datetime) -> None:
    """Verify that a client which trusts `authority` accepts `leaf` as the server `name` (DNS name or address).

    The rules are those of the web's PKI, which are at least as strict as those of the API server: curves, signatures,
    key usages, path lengths and name constraints among them.

    Raises:
        VerificationError, ValueError: it does not.
    """
    certificate = x509.load_pem_x509_certificate(leaf.certificate)
    policy = PolicyBuilder().store(Store([authority])).time(now)
    policy.build_server_verifier(_subject(name)).verify(certificate, [])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, lifetime: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - min(CLOCK_SKEW, lifetime * CLOCK_SKEW_FRACTION))
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _signed(
    builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> KeyPair:
    return KeyPair(
        certificate=builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _subject(name: str) -> x509.DNSName | x509.IPAddress:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
