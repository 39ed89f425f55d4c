"""What is counted."""

from webhook.admission.reasons import AdmissionWarning, WarningCode
from webhook.server.metrics import BUCKETS, Metrics


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


def test_warnings_by_code() -> None:
    """Warnings are counted by their code."""
    metrics = Metrics()
    metrics.record_admission("mutate", "injected", 0.1, [AdmissionWarning(WarningCode.NO_CLIENT_ID, "x")])
    assert 'azwi_admission_warnings_total{code="no-client-id"} 1.0' in metrics.text().decode()


def test_buckets() -> None:
    """The histogram's buckets are those of v1.6.0, rising, from 1 ms to 3 s."""
    assert (BUCKETS[0], BUCKETS[-1], len(BUCKETS)) == (0.001, 3.0, 32)
    assert list(BUCKETS) == sorted(BUCKETS)
