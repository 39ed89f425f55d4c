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
)
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from certs.phases import COMMON_NAME, CertificateSpec, RotationStep, step
from certs.secret_keys import CA, CA_KEY, KEYS, LEAF, LEAF_KEY, NEXT_CA, NEXT_CA_KEY, OLD_CA

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
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


def rsa_authority() -> dict[str, bytes]:
    """Make a CA as v1.6.0 does, with an RSA key."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, COMMON_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + 300 * DAY)
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
    "RSA CA": rsa_authority(),
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


def test_v160_is_trusted_while_it_is_replaced() -> None:
    """A CA of v1.6.0 signs no leaf here, and its replicas stay trusted as long as they may serve."""
    upstream = rsa_authority()
    taken = step(upstream, SPEC, NOW)
    assert taken.data[CA] != upstream[CA]
    assert upstream[CA] in taken.trusted


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
