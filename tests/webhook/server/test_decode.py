"""What is decoded of a body decides as the whole body would."""

import json
import random

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azure_workload_identity.types import JsonObject
from testbed.program import ROOT, review
from tests.fuzz_review import POLICY, find, mutated
from webhook.admission.admit import admit
from webhook.admission.review import AdmissionOutcome, BrokenReviewError, Review
from webhook.server import decode


def outcome(envelope: object) -> AdmissionOutcome | str:
    """Admit a decoded body; the message where it is not a review."""
    try:
        return admit(Review.parse(envelope), find, POLICY)
    except BrokenReviewError as error:
        return error.message


@pytest.mark.parametrize("name", ["small", "medium", "large", "proxy"])
def test_captured_reviews(name: str) -> None:
    """Reviews of a real API server are decided alike, decoded in part or whole."""
    body = (ROOT / "bench" / "reviews" / f"{name}.json").read_bytes()
    part, whole = decode.decode(body), orjson.loads(body)
    assert outcome(part) == outcome(whole)
    assert len(json.dumps(part)) < len(json.dumps(whole)) / 1.5


@given(st.integers(0, 2**32))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_junk(seed: int) -> None:
    """Mutated bodies are decided alike, whatever is wrong with them, or are no JSON either way."""
    body = mutated(random.Random(seed))  # noqa: S311  not for secrets
    try:
        whole = orjson.loads(body)
    except ValueError:
        # What is skipped is not read closely: a body may pass that is not JSON in a place that is not read.
        return
    assert outcome(decode.decode(body)) == outcome(whole)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff", b'{"request": {"object": {"metadata": {"managedFields": "\xff"}}}}', b"[" * 100_000, b"{} {}"],
)
def test_no_json(body: bytes) -> None:
    """What is no JSON, or no UTF-8 in whichever place, is refused."""
    with pytest.raises(ValueError):  # noqa: PT011  the messages are the libraries'
        decode.decode(body)


@pytest.mark.parametrize(
    "pod",
    [
        {"metadata": {"labels": None}, "spec": {"containers": [{"name": 7}]}},
        {"metadata": None, "spec": {"containers": [], "hostNetwork": "yes"}},
        {"spec": {"containers": [{"name": "a", "env": [{"name": "A", "value": 7}]}]}},
    ],
)
def test_other_types(pod: JsonObject) -> None:
    """A body with another type where one is expected is decoded whole."""
    body = orjson.dumps(review(pod))
    assert decode.decode(body) == orjson.loads(body)
