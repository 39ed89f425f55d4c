"""The metrics, as Prometheus' own parser reads them."""

from prometheus_client.parser import text_string_to_metric_families

from azure_workload_identity.entra import Kind
from imds_proxy.metrics import Metrics


def test_exposition() -> None:
    """Everything that is counted can be read, and every result of an exchange is there from the start."""
    metrics = Metrics()
    metrics.record_request("token", 200)
    metrics.record_exchange("success", 0.25)
    metrics.record_exchange(Kind.OUTAGE, 0.5)
    families = {family.name: family for family in text_string_to_metric_families(metrics.text(3).decode())}
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert samples["azwi_proxy_requests_total", "token", "200"] == 1
    assert {key[1]: value for key, value in samples.items() if key[0] == "azwi_proxy_exchanges_total"} == {
        "success": 1,
        "outage": 1,
        "permanent": 0,
        "propagating": 0,
        "throttled": 0,
    }
    assert samples["azwi_proxy_exchange_seconds_sum",] == 0.75
    assert samples["azwi_proxy_exchange_seconds_count",] == 2
    assert samples["azwi_proxy_tokens",] == 3
    assert samples["process_resident_memory_bytes",] > 1 << 20
    assert families["azwi_build"].samples if "azwi_build" in families else families["azwi_build_info"].samples
