"""The steps of certificate rotation: each phase, and healing."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs.authority import verify
from certs.errors import ForeignCertificateError
from certs.key_pair import KeyPair
from certs.phases import COMMON_NAME, MAX_OLD, CertificateSpec, RotationStep, step
from certs.secret_keys import CA, CA_KEY, KEYS, LEAF, LEAF_KEY, NEXT_CA, NEXT_CA_KEY, OLD_CA

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
Extension = tuple[x509.ExtensionType, bool]
SPEC = CertificateSpec(("webhook.system.svc", "webhook.system"), ca_lifetime=360 * DAY, cert_lifetime=90 * DAY)


def leaf(made: RotationStep) -> x509.Certificate:
    """Return the leaf of a step."""
    return x509.load_pem_x509_certificate(made.data[LEAF])


def authority(made: RotationStep) -> x509.Certificate:
    """Return the CA of a step."""
    return x509.load_pem_x509_certificate(made.data[CA])


@pytest.fixture(scope="module")
def first() -> RotationStep:
    """Return the step from nothing."""
    return step({}, SPEC, NOW)


def test_from_nothing(first: RotationStep) -> None:
    """Without content a CA and a leaf of it are created, and the caBundle is that CA."""
    assert first.changes == ("created",)
    assert set(first.data) == {CA, CA_KEY, LEAF, LEAF_KEY}
    assert first.trusted == first.data[CA]
    leaf(first).verify_directly_issued_by(authority(first))
    names = leaf(first).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(SPEC.names)
    assert leaf(first).not_valid_after_utc == NOW + SPEC.cert_lifetime
    assert first.ca_expires == NOW + SPEC.ca_lifetime


def test_nothing_to_do(first: RotationStep) -> None:
    """The content stays as it is until a third of a leaf's lifetime is left."""
    later = step(first.data, SPEC, NOW + 59 * DAY)
    assert later.data == first.data
    assert later.changes == ()
    assert NOW + 59 * DAY < later.due < NOW + 61 * DAY


def test_leaf_is_renewed(first: RotationStep) -> None:
    """A leaf due for renewal is replaced by one of the same CA, so the caBundle stays."""
    renewed = step(first.data, SPEC, first.due)
    assert renewed.changes == ("renewed",)
    assert renewed.data[CA] == first.data[CA]
    assert renewed.data[LEAF] != first.data[LEAF]
    assert renewed.trusted == first.trusted


def test_rotation_of_the_authority(first: RotationStep) -> None:
    """The next CA is announced, signs once trusted, and the old one leaves when none of its leaves is served."""
    due = NOW + 241 * DAY
    announced = step(first.data, SPEC, due)
    assert "announced" in announced.changes
    assert announced.trusted == first.data[CA] + announced.data[NEXT_CA]
    leaf(announced).verify_directly_issued_by(authority(first))

    waiting = step(announced.data, SPEC, due + DAY)
    assert waiting.data == announced.data

    promoted = step(announced.data, SPEC, due + DAY, announced=True)
    assert promoted.changes == ("promoted",)
    assert promoted.data[CA] == announced.data[NEXT_CA]
    assert NEXT_CA not in promoted.data
    assert NEXT_CA_KEY not in promoted.data
    leaf(promoted).verify_directly_issued_by(authority(promoted))
    assert promoted.data[OLD_CA] == first.data[CA]
    assert promoted.trusted == promoted.data[CA] + first.data[CA]

    end = x509.load_pem_x509_certificate(first.data[CA]).not_valid_after_utc
    retired = step(promoted.data, SPEC, end)
    assert "retired" in retired.changes
    assert OLD_CA not in retired.data
    assert first.data[CA] not in retired.trusted


def test_old_authority_leaves_with_its_leaves() -> None:
    """An old CA leaves long before it expires, once nothing that it signed can still be served."""
    spec = CertificateSpec(SPEC.names, ca_lifetime=360 * DAY, cert_lifetime=10 * DAY)
    old = step({}, spec, NOW)
    announced = step(old.data, spec, NOW + 241 * DAY)
    promoted = step(announced.data, spec, NOW + 242 * DAY, announced=True)
    assert promoted.due < NOW + 262 * DAY
    assert OLD_CA in step(promoted.data, spec, NOW + 260 * DAY).data
    assert OLD_CA not in step(promoted.data, spec, NOW + 262 * DAY).data


def test_nothing_announced_without_a_next_authority(first: RotationStep) -> None:
    """`announced` changes nothing if there is no next CA."""
    assert step(first.data, SPEC, NOW + DAY, announced=True).data == first.data


def rsa_authority(begin: float = NOW.timestamp()) -> dict[str, bytes]:
    """Make a CA as v1.6.0 does, with an RSA key."""
    not_before = datetime.fromtimestamp(int(begin), UTC)
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(not_before)
        .not_valid_after(not_before + 300 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return {CA: certificate.public_bytes(Encoding.PEM), CA_KEY: private}


def made_for(names: tuple[str, ...], now: datetime = NOW) -> Mapping[str, bytes]:
    """Make content for other names or of another time."""
    return step({}, replace(SPEC, names=names), now).data


FOREIGN = made_for(SPEC.names)
BROKEN: Final[dict[str, Mapping[str, bytes]]] = {
    "truncated CA": {CA: FOREIGN[CA][:100]},
    "truncated CA key": {CA_KEY: FOREIGN[CA_KEY][:60]},
    "foreign CA key": {CA_KEY: FOREIGN[CA_KEY]},
    "foreign CA": {CA: FOREIGN[CA]},
    "CA without its key": {CA_KEY: b""},
    "a leaf as CA": {CA: FOREIGN[LEAF], CA_KEY: FOREIGN[LEAF_KEY]},
    "expired": dict(made_for(SPEC.names, NOW - 400 * DAY)),
    "of the future": dict(made_for(SPEC.names, NOW + 2 * DAY)),
    "truncated leaf": {LEAF: FOREIGN[LEAF][:80]},
    "foreign leaf key": {LEAF_KEY: FOREIGN[LEAF_KEY]},
    "foreign leaf": {LEAF: FOREIGN[LEAF], LEAF_KEY: FOREIGN[LEAF_KEY]},
    "leaf for other names": dict(made_for(("other.svc",))),
    "junk": dict.fromkeys(KEYS, b"\x00junk\xff"),
    "junk as the next CA": {NEXT_CA: b"junk", NEXT_CA_KEY: b"junk"},
    "junk as old CAs": {OLD_CA: b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"},
    "expired RSA CA": rsa_authority((NOW - 301 * DAY).timestamp()),
    "RSA CA without its key": {**rsa_authority(), CA_KEY: FOREIGN[CA_KEY]},
    "encrypted key": {
        CA_KEY: ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    },
}


@pytest.mark.parametrize("broken", BROKEN)
def test_healing(first: RotationStep, broken: str) -> None:
    """The step from any content can be served and is trusted, and the step from that changes nothing."""
    healed = step({**first.data, **BROKEN[broken]}, SPEC, NOW, served=first.data[CA])
    leaf(healed).verify_directly_issued_by(authority(healed))
    assert healed.data[CA] in healed.trusted
    assert first.data[CA] in healed.trusted
    assert {name for name, value in healed.data.items() if value.startswith(b"-----BEGIN")} == set(healed.data)
    again = step(healed.data, SPEC, NOW, served=first.data[CA])
    assert (again.data, again.changes, again.problems) == (healed.data, (), ())


@pytest.mark.parametrize(
    "broken", ["truncated CA", "foreign CA key", "expired", "truncated leaf", "leaf for other names"]
)
def test_problems_are_reported(first: RotationStep, broken: str) -> None:
    """Unusable content is reported by its key, without the content."""
    problems = step({**first.data, **BROKEN[broken]}, SPEC, NOW).problems
    assert problems
    assert all(problem.startswith((CA, LEAF)) for problem in problems)
    assert not any("BEGIN" in problem for problem in problems)


def test_lost_authority_is_replaced_by_the_announced_one(first: RotationStep) -> None:
    """If the signing CA is lost, the announced one takes over at once."""
    announced = step(first.data, SPEC, NOW + 241 * DAY)
    lost = {**announced.data, CA: b"junk"}
    assert step(lost, SPEC, NOW + 241 * DAY).data[CA] == announced.data[NEXT_CA]


def test_foreign_pair_is_not_overwritten(first: RotationStep) -> None:
    """A valid pair of another kind, as v1.6.0's, belongs to another program: it is reported and left alone."""
    upstream = rsa_authority()
    for content in (upstream, {**first.data, **upstream}, {LEAF: upstream[CA], LEAF_KEY: upstream[CA_KEY]}):
        with pytest.raises(ForeignCertificateError, match="of another program"):
            step(content, SPEC, NOW)


@pytest.mark.parametrize(("service", "namespace"), [(1, 1), (63, 1), (1, 63), (32, 32), (63, 63)])
def test_names_of_every_length(service: int, namespace: int) -> None:
    """Certificates can be made for every Service that Kubernetes allows."""
    host = f"{'s' * service}.{'n' * namespace}"
    made = step({}, replace(SPEC, names=(f"{host}.svc", f"{host}.svc.cluster.local", host, "s" * service)), NOW)
    assert made.changes == ("created",)
    verify(KeyPair(made.data[LEAF], made.data[LEAF_KEY]), authority(made), f"{host}.svc", NOW)


def usage(*, signs: bool) -> Extension:
    """Write a key usage."""
    others = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only")
    off = dict.fromkeys((*others, "decipher_only", "crl_sign"), False)
    return x509.KeyUsage(digital_signature=True, key_cert_sign=signs, **off), True


def elliptic_authority(
    *extensions: Extension, lifetime: timedelta = 300 * DAY, curve: ec.EllipticCurve | None = None
) -> dict[str, bytes]:
    """Make a CA of an elliptic curve with these extensions beside the basic constraints."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "another CA")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in extensions or [usage(signs=True)]:
        builder = builder.add_extension(extension, critical=critical)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return {CA: builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM), CA_KEY: private}


def test_usable_authority_of_another() -> None:
    """A CA that fulfils the rules is used; it proves that the next test's CAs are refused for what they lack."""
    content = elliptic_authority()
    assert step(content, SPEC, NOW).data[CA] == content[CA]


@pytest.mark.parametrize(
    "content",
    [
        elliptic_authority(curve=ec.SECP256K1()),
        elliptic_authority(curve=ec.BrainpoolP256R1()),
        elliptic_authority(usage(signs=False)),
        elliptic_authority(usage(signs=True), (x509.NameConstraints([x509.DNSName("example.com")], None), True)),
        elliptic_authority(usage(signs=True), (x509.NameConstraints(None, [x509.DNSName("svc")]), True)),
        elliptic_authority(
            usage(signs=True), (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b""), True)
        ),
    ],
    ids=[
        "secp256k1",
        "brainpool",
        "may not sign",
        "other names permitted",
        "names excluded",
        "critical extension",
    ],
)
def test_authority_that_clients_reject(content: dict[str, bytes]) -> None:
    """A CA whose leaves the API server would not accept is replaced at once, and said why."""
    healed = step(content, SPEC, NOW)
    assert healed.changes == ("healed",)
    assert healed.data[CA] != content[CA]
    assert healed.problems[0].startswith(f"{CA}: ")
    verify(KeyPair(healed.data[LEAF], healed.data[LEAF_KEY]), authority(healed), SPEC.names[0], NOW)


def test_leaf_that_clients_reject(first: RotationStep) -> None:
    """A leaf for clients only is replaced, though the CA has signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    ca_key = load_pem_private_key(first.data[CA_KEY], None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(leaf(first).issuer, leaf(first).subject, key.public_key(), 1, NOW, NOW + 90 * DAY)
    for extension in leaf(first).extensions:
        client_only = isinstance(extension.value, x509.ExtendedKeyUsage)
        value = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]) if client_only else extension.value
        builder = builder.add_extension(value, critical=extension.critical)
    pem = builder.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    healed = step({**first.data, LEAF: pem, LEAF_KEY: private}, SPEC, NOW)
    assert healed.data[CA] == first.data[CA]
    assert healed.data[LEAF] != pem
    assert healed.problems[0].startswith(f"{LEAF}: ")


def test_authority_of_a_hundred_years() -> None:
    """A CA that is valid for longer than CAs are to be is rotated out in phases, and leaves the caBundle."""
    content = elliptic_authority(lifetime=36500 * DAY)
    due = NOW + 240 * DAY
    announced = step(content, SPEC, due)
    assert "announced" in announced.changes
    promoted = step(announced.data, SPEC, due, announced=True)
    assert content[CA] in promoted.trusted
    assert promoted.due <= due + 180 * DAY
    assert content[CA] not in step(promoted.data, SPEC, due + 181 * DAY).trusted


def test_old_authorities_leave_one_by_one() -> None:
    """Former CAs leave even where rotations follow each other faster than leaves expire."""
    spec = replace(SPEC, ca_lifetime=24 * DAY, cert_lifetime=12 * DAY)
    foreign = elliptic_authority(lifetime=36500 * DAY)[CA]
    data, now = dict(step({}, spec, NOW).data) | {OLD_CA: foreign}, NOW
    for _ in range(4):
        now += 17 * DAY
        data = dict(step(step(data, spec, now).data, spec, now, announced=True).data)
    assert foreign not in data.get(OLD_CA, b"")
    assert data[OLD_CA].count(b"BEGIN") <= 2


def test_served_authority_is_never_crowded_out(first: RotationStep) -> None:
    """What is served stays trusted, however many former CAs there are, and though it should have been retired."""
    others = b"".join(made_for(SPEC.names)[CA] for _ in range(MAX_OLD + 2))
    healed = step({OLD_CA: others}, SPEC, NOW, served=first.data[CA])
    assert first.data[CA] in healed.trusted
    assert healed.data[OLD_CA].count(b"BEGIN") == MAX_OLD
    backup = step({}, SPEC, NOW - 200 * DAY).data
    assert first.data[CA] in step(backup, SPEC, NOW, served=first.data[CA]).trusted


def test_served_authority_stays_trusted(first: RotationStep) -> None:
    """If the Secret is lost, the served leaf stays trusted until the new one can be served."""
    created = step({}, SPEC, NOW, served=first.data[CA])
    assert created.changes == ("created",)
    assert created.trusted == created.data[CA] + first.data[CA]


def test_leaf_ends_with_its_authority() -> None:
    """A leaf is never valid for longer than the CA that signed it."""
    spec = replace(SPEC, ca_lifetime=30 * DAY)
    made = step({}, spec, NOW)
    assert leaf(made).not_valid_after_utc == authority(made).not_valid_after_utc


def test_no_key_in_representations(first: RotationStep) -> None:
    """A step can be logged."""
    assert "PRIVATE" not in repr(first)


@given(st.dictionaries(st.sampled_from(KEYS), st.binary(max_size=200) | st.sampled_from(sorted(FOREIGN.values()))))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_content(content: dict[str, bytes]) -> None:
    """No content makes a step fail, and its result can be served."""
    made = step(content, SPEC, NOW)
    leaf(made).verify_directly_issued_by(authority(made))
    assert step(made.data, SPEC, NOW).data == made.data
