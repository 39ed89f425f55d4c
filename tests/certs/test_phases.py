"""What becomes of the certificates: each phase, and what heals."""

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

from certs.phases import COMMON_NAME, Step, Wanted, step
from certs.secret_keys import CA, CA_KEY, KEYS, LEAF, LEAF_KEY, NEXT_CA, NEXT_CA_KEY, OLD_CA

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
WANTED = Wanted(("webhook.system.svc", "webhook.system"), ca_lifetime=360 * DAY, cert_lifetime=90 * DAY)


def leaf(made: Step) -> x509.Certificate:
    """Return the leaf that was made."""
    return x509.load_pem_x509_certificate(made.data[LEAF])


def authority(made: Step) -> x509.Certificate:
    """Return the CA that was made."""
    return x509.load_pem_x509_certificate(made.data[CA])


@pytest.fixture(scope="module")
def first() -> Step:
    """Return what is made from nothing."""
    return step({}, WANTED, NOW)


def test_from_nothing(first: Step) -> None:
    """From nothing come a CA and a leaf of it, and the caBundle is that CA."""
    assert first.changes == ("created",)
    assert set(first.data) == {CA, CA_KEY, LEAF, LEAF_KEY}
    assert first.trusted == first.data[CA]
    leaf(first).verify_directly_issued_by(authority(first))
    names = leaf(first).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(WANTED.names)
    assert leaf(first).not_valid_after_utc == NOW + WANTED.cert_lifetime
    assert first.ca_expires == NOW + WANTED.ca_lifetime


def test_nothing_to_do(first: Step) -> None:
    """What was made stays as it is until a third of a leaf's life is left."""
    later = step(first.data, WANTED, NOW + 59 * DAY)
    assert later.data == first.data
    assert later.changes == ()
    assert NOW + 59 * DAY < later.due < NOW + 61 * DAY


def test_leaf_is_renewed(first: Step) -> None:
    """A worn leaf is replaced by one of the same CA, so the caBundle stays."""
    renewed = step(first.data, WANTED, first.due)
    assert renewed.changes == ("renewed",)
    assert renewed.data[CA] == first.data[CA]
    assert renewed.data[LEAF] != first.data[LEAF]
    assert renewed.trusted == first.trusted


def test_rotation_of_the_authority(first: Step) -> None:
    """The next CA is announced, signs once it was seen, and the old one leaves when nothing of it can be served."""
    worn = NOW + 241 * DAY
    announced = step(first.data, WANTED, worn)
    assert "announced" in announced.changes
    assert announced.trusted == first.data[CA] + announced.data[NEXT_CA]
    leaf(announced).verify_directly_issued_by(authority(first))

    waiting = step(announced.data, WANTED, worn + DAY)
    assert waiting.data == announced.data

    promoted = step(announced.data, WANTED, worn + DAY, announced=True)
    assert promoted.changes == ("promoted",)
    assert promoted.data[CA] == announced.data[NEXT_CA]
    assert NEXT_CA not in promoted.data
    assert NEXT_CA_KEY not in promoted.data
    leaf(promoted).verify_directly_issued_by(authority(promoted))
    assert promoted.data[OLD_CA] == first.data[CA]
    assert promoted.trusted == promoted.data[CA] + first.data[CA]

    end = x509.load_pem_x509_certificate(first.data[CA]).not_valid_after_utc
    retired = step(promoted.data, WANTED, end)
    assert "retired" in retired.changes
    assert OLD_CA not in retired.data
    assert first.data[CA] not in retired.trusted


def test_old_authority_leaves_when_its_leaves_are_over() -> None:
    """An old CA leaves long before it ends when nothing that it signed can still be served."""
    wanted = Wanted(WANTED.names, ca_lifetime=360 * DAY, cert_lifetime=10 * DAY)
    old = step({}, wanted, NOW)
    announced = step(old.data, wanted, NOW + 241 * DAY)
    promoted = step(announced.data, wanted, NOW + 242 * DAY, announced=True)
    assert promoted.due < NOW + 262 * DAY
    assert OLD_CA in step(promoted.data, wanted, NOW + 260 * DAY).data
    assert OLD_CA not in step(promoted.data, wanted, NOW + 262 * DAY).data


def test_nothing_announced_without_a_next_authority(first: Step) -> None:
    """That everything was announced changes nothing where nothing comes."""
    assert step(first.data, WANTED, NOW + DAY, announced=True).data == first.data


def rsa_authority() -> dict[str, bytes]:
    """Make a CA as v1.6.0 keeps it, with an RSA key."""
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
    """Make the content for other names or of another time."""
    return step({}, replace(WANTED, names=names), now).data


STRANGER = made_for(WANTED.names)
BROKEN: Final[dict[str, Mapping[str, bytes]]] = {
    "truncated CA": {CA: STRANGER[CA][:100]},
    "truncated CA key": {CA_KEY: STRANGER[CA_KEY][:60]},
    "foreign CA key": {CA_KEY: STRANGER[CA_KEY]},
    "foreign CA": {CA: STRANGER[CA]},
    "CA without its key": {CA_KEY: b""},
    "a leaf as CA": {CA: STRANGER[LEAF], CA_KEY: STRANGER[LEAF_KEY]},
    "expired": dict(made_for(WANTED.names, NOW - 400 * DAY)),
    "of the future": dict(made_for(WANTED.names, NOW + 2 * DAY)),
    "truncated leaf": {LEAF: STRANGER[LEAF][:80]},
    "foreign leaf key": {LEAF_KEY: STRANGER[LEAF_KEY]},
    "foreign leaf": {LEAF: STRANGER[LEAF], LEAF_KEY: STRANGER[LEAF_KEY]},
    "leaf for other names": dict(made_for(("other.svc",))),
    "junk": dict.fromkeys(KEYS, b"\x00junk\xff"),
    "junk as the next CA": {NEXT_CA: b"junk", NEXT_CA_KEY: b"junk"},
    "junk as old CAs": {OLD_CA: b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"},
    "an RSA CA": rsa_authority(),
    "encrypted key": {
        CA_KEY: ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
    },
}


@pytest.mark.parametrize("broken", BROKEN)
def test_healing(first: Step, broken: str) -> None:
    """Whatever the content is, the step from it can be served and trusted, and is its own next step."""
    healed = step({**first.data, **BROKEN[broken]}, WANTED, NOW, served=first.data[CA])
    leaf(healed).verify_directly_issued_by(authority(healed))
    assert healed.data[CA] in healed.trusted
    assert first.data[CA] in healed.trusted
    assert {name for name, value in healed.data.items() if value.startswith(b"-----BEGIN")} == set(healed.data)
    again = step(healed.data, WANTED, NOW, served=first.data[CA])
    assert (again.data, again.changes, again.problems) == (healed.data, (), ())


@pytest.mark.parametrize(
    "broken", ["truncated CA", "foreign CA key", "expired", "truncated leaf", "leaf for other names"]
)
def test_problems_are_told(first: Step, broken: str) -> None:
    """What could not be used is told by its key, without the content."""
    problems = step({**first.data, **BROKEN[broken]}, WANTED, NOW).problems
    assert problems
    assert all(problem.startswith((CA, LEAF)) for problem in problems)
    assert not any("BEGIN" in problem for problem in problems)


def test_lost_authority_is_replaced_by_the_announced_one(first: Step) -> None:
    """When the signing CA is lost, the one that was announced takes over at once."""
    announced = step(first.data, WANTED, NOW + 241 * DAY)
    lost = {**announced.data, CA: b"junk"}
    assert step(lost, WANTED, NOW + 241 * DAY).data[CA] == announced.data[NEXT_CA]


def test_v160_is_trusted_while_it_is_replaced() -> None:
    """A CA of v1.6.0 signs nothing of ours, and its replicas are trusted as long as they may serve."""
    upstream = rsa_authority()
    taken = step(upstream, WANTED, NOW)
    assert taken.data[CA] != upstream[CA]
    assert upstream[CA] in taken.trusted


def test_served_authority_stays_trusted(first: Step) -> None:
    """When the Secret is lost, what this process serves stays trusted until it can serve the new one."""
    created = step({}, WANTED, NOW, served=first.data[CA])
    assert created.changes == ("created",)
    assert created.trusted == created.data[CA] + first.data[CA]


def test_leaf_ends_with_its_authority() -> None:
    """A leaf is never valid for longer than the CA that signed it."""
    wanted = replace(WANTED, ca_lifetime=30 * DAY)
    made = step({}, wanted, NOW)
    assert leaf(made).not_valid_after_utc == authority(made).not_valid_after_utc


def test_no_key_in_representations(first: Step) -> None:
    """A step can be logged."""
    assert "PRIVATE" not in repr(first)


@given(st.dictionaries(st.sampled_from(KEYS), st.binary(max_size=200) | st.sampled_from(sorted(STRANGER.values()))))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_content(content: dict[str, bytes]) -> None:
    """No content makes it fail, and what it makes can be served."""
    made = step(content, WANTED, NOW)
    leaf(made).verify_directly_issued_by(authority(made))
    assert step(made.data, WANTED, NOW).data == made.data
