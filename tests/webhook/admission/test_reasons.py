"""Codes, warnings and refusals, and how messages quote values."""

import pytest

from webhook.admission.reasons import AdmissionWarning, Reason, Refusal, WarningCode, quoted


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "'plain'"),
        ("a\nb", r"'a\nb'"),
        ("caf\u00e9 \U0001f511", r"'caf\xe9 \U0001f511'"),
        ("\x1b[31m", r"'\x1b[31m'"),
        (7, "'7'"),
        (None, "'None'"),
        ({"a": [1]}, "{...}"),
        ([{}], "[...]"),
    ],
)
def test_quoted(value: object, shown: str) -> None:
    """Any value is shown as ASCII on one line; maps and lists are named only."""
    assert quoted(value) == shown


def test_long_values_are_cut() -> None:
    """A long value is cut to 80 characters, with dots at its end."""
    assert quoted("x" * 81) == "'" + "x" * 77 + "...'"
    assert quoted("x" * 80) == "'" + "x" * 80 + "'"


def test_a_warning_names_its_source() -> None:
    """A warning names this webhook and ends with its code."""
    assert str(AdmissionWarning(WarningCode.NO_CLIENT_ID, "text")) == "azure-workload-identity: text (no-client-id)"


def test_a_refusal_is_a_bad_request() -> None:
    """A refusal carries its code, its message and the status that kubectl shows as BadRequest."""
    refusal = Refusal(Reason.MALFORMED_POD, "message")
    assert (refusal.reason, refusal.message, refusal.status, str(refusal)) == (
        "malformed-pod",
        "message",
        400,
        "message",
    )
