"""What is counted."""

import re
from typing import Final

from testbed.program import ROOT
from webhook.admission.reasons import AdmissionWarning, WarningCode
from webhook.server.metrics import BUCKETS, Metrics

PAGE: Final = ROOT / "docs" / "reference" / "decisions.md"


def test_admissions_by_decision_and_reason() -> None:
    """Each admission is counted under its decision and reason, and timed."""
    metrics = Metrics()
    metrics.record_admission("mutate", "injected", 0.0005)
    metrics.record_admission("mutate", "injected", 0.0005)
    metrics.record_admission("refuse", "malformed-pod", 1.2)
    text = metrics.text().decode()
    assert 'azwi_admissions_total{decision="mutate",reason="injected"} 2.0' in text
    assert 'azwi_admissions_total{decision="refuse",reason="malformed-pod"} 1.0' in text
    assert 'azwi_mutation_request_bucket{le="0.001",service_name="webhook"} 2.0' in text
    assert 'azwi_mutation_request_count{service_name="webhook"} 3.0' in text


def documented_reasons() -> set[tuple[str, str]]:
    """Return decision and reason of each section of the page."""
    sections = re.findall(r"^### ([a-z-]+)\n\n- \*\*Decision\*\*: (\w+)$", PAGE.read_text(), re.MULTILINE)
    return {(decision, reason) for reason, decision in sections}


def test_counters_begin_at_zero() -> None:
    """Each known label is exposed from the start, so that rate() sees its first event."""
    text = Metrics().text().decode()
    known = set(re.findall(r'^azwi_admissions_total\{decision="(\w+)",reason="([a-z-]+)"\} 0\.0$', text, re.MULTILINE))
    assert known == documented_reasons()
    for code in WarningCode:
        assert f'azwi_admission_warnings_total{{code="{code}"}} 0.0' in text
    for sample in ('live_reads_total{result="failed"}', 'certificate_rotations_total{phase="healed"}'):
        assert f"azwi_{sample} 0.0" in text
    assert "azwi_ca_bundle_patches_total 0.0" in text


def test_warnings_by_code() -> None:
    """Warnings are counted by their code."""
    metrics = Metrics()
    metrics.record_admission("mutate", "injected", 0.1, [AdmissionWarning(WarningCode.NO_CLIENT_ID, "x")])
    assert 'azwi_admission_warnings_total{code="no-client-id"} 1.0' in metrics.text().decode()


def test_buckets() -> None:
    """The histogram's buckets are those of v1.6.0, rising, from 1 ms to 3 s."""
    assert (BUCKETS[0], BUCKETS[-1], len(BUCKETS)) == (0.001, 3.0, 32)
    assert list(BUCKETS) == sorted(BUCKETS)
