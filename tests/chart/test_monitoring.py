"""Alerts, dashboard and monitors use metrics that the server exposes."""

import json
import re
import tomllib
from typing import Final

import pytest

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from testbed.program import ROOT
from tests.chart.helm import FULLNAME, NAMESPACE, Helm, of_kind, only, pod_spec, rendered
from webhook.server.metrics import Metrics

HOMEPAGE: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Homepage"]
PORTS: Final = ("webhook", "metrics", "health")
EVERYTHING: Final = {
    "metrics.serviceMonitor.enabled": True,
    "metrics.prometheusRule.enabled": True,
    "metrics.dashboard.enabled": True,
}


@pytest.fixture(scope="module")
def monitored(helm: Helm) -> list[JsonObject]:
    """Render the chart with monitoring enabled."""
    return rendered(helm, EVERYTHING)


def expressions(manifests: list[JsonObject]) -> list[str]:
    """Return every expression of alerts and dashboard."""
    (group,) = only(manifests, "PrometheusRule")["spec"]["groups"]
    dashboard = json.loads(only(manifests, "ConfigMap")["data"]["azure-workload-identity.json"])
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    return [rule["expr"] for rule in group["rules"]] + panels


def exposed_samples() -> set[str]:
    """Return the names of the samples that the server can expose."""
    families = Metrics().registry.collect()
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "info": ("_info",)}
    return {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}


def test_metrics_exist(monitored: list[JsonObject]) -> None:
    """Every metric in an alert or a panel is one that the server exposes."""
    used = {name for text in expressions(monitored) for name in re.findall(r"\b(?:azwi|process)_[a-z0-9_]+", text)}
    assert len(used) > 10
    assert used <= exposed_samples()


def test_metrics_are_used(monitored: list[JsonObject]) -> None:
    """Every metric specific to the server is on the dashboard or in an alert."""
    text = " ".join(expressions(monitored))
    own = {name for name in exposed_samples() if name.startswith("azwi_") and not name.endswith(("_sum", "_count"))}
    assert {name for name in own if name not in text} == set()


def test_expressions_select_this_release(monitored: list[JsonObject]) -> None:
    """Alerts select the release's namespace, panels the chosen one; brackets match."""
    for expression in expressions(monitored):
        assert f'namespace="{NAMESPACE}"' in expression or 'namespace="$namespace"' in expression
        for left, right in ("()", "[]", "{}"):
            assert expression.count(left) == expression.count(right)


def test_alerts_say_what_to_do(monitored: list[JsonObject]) -> None:
    """Every alert has a severity, a summary, a description and a section of the page of alerts."""
    (group,) = only(monitored, "PrometheusRule")["spec"]["groups"]
    assert len(group["rules"]) == 9
    page = f"{HOMEPAGE}/blob/v{__version__}/docs/operate/alerts.md"
    sections = re.findall(r"^## (.*)$", (ROOT / "docs" / "operate" / "alerts.md").read_text(), re.MULTILINE)
    assert [rule["alert"] for rule in group["rules"]] == sections
    for rule in group["rules"]:
        assert rule["annotations"]["runbook_url"] == f"{page}#{rule['alert'].lower()}"
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}


def test_jobs_in_the_manual(monitored: list[JsonObject], value_sets: dict[str, list[JsonObject]]) -> None:
    """The page's `up` names the jobs that the Prometheus operator makes of the Service or the PodMonitor."""
    text = (ROOT / "docs" / "operate" / "alerts.md").read_text()
    service = only(monitored, "Service", f"{FULLNAME}-metrics")["metadata"]["name"]
    monitor = only(value_sets["25-pod-monitor-values.yaml"], "PodMonitor")["metadata"]
    assert "jobLabel" not in only(monitored, "ServiceMonitor")["spec"]
    assert re.findall(r'up\{job="(.*?)"\}', text) == [service, f"{monitor['namespace']}/{monitor['name']}"]


@pytest.mark.parametrize(("lifetime", "seconds"), [("2160h", 604800), ("168h", 60480)])
def test_certificate_alert_threshold(helm: Helm, lifetime: str, seconds: int) -> None:
    """The alert leaves time for the renewal, however short the certificate's lifetime."""
    values = {"metrics.prometheusRule.enabled": True, "certificates.lifetime": lifetime}
    (group,) = only(rendered(helm, values), "PrometheusRule")["spec"]["groups"]
    (rule,) = [it for it in group["rules"] if it["alert"] == "AzureWorkloadIdentityCertificateExpires"]
    assert rule["expr"].endswith(f"- time() < {seconds}")


def test_alerts_can_be_changed(value_sets: dict[str, list[JsonObject]]) -> None:
    """Alerts can be omitted, labelled and added."""
    (group,) = only(value_sets["24-monitoring-values.yaml"], "PrometheusRule")["spec"]["groups"]
    alerts = [rule["alert"] for rule in group["rules"] if "alert" in rule]
    assert "AzureWorkloadIdentityAdmissionSlow" not in alerts
    assert len(alerts) == 8
    assert all(rule["labels"]["team"] == "identity" for rule in group["rules"] if "alert" in rule)
    assert group["rules"][-1]["record"] == "azwi:admissions:rate5m"


def test_service_monitor(monitored: list[JsonObject]) -> None:
    """The ServiceMonitor selects the metrics Service and one of its ports, and not the webhook's Service."""
    monitor = only(monitored, "ServiceMonitor")["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    found = [it for it in of_kind(monitored, "Service") if wanted <= it["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in found] == [f"{FULLNAME}-metrics"]
    assert [port["name"] for port in found[0]["spec"]["ports"]] == [monitor["endpoints"][0]["port"]]


def test_pod_monitor(value_sets: dict[str, list[JsonObject]]) -> None:
    """The PodMonitor selects the pods and one of their ports, and needs no Service."""
    manifests = value_sets["25-pod-monitor-values.yaml"]
    monitor = only(manifests, "PodMonitor")["spec"]
    labels = only(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"]: port["containerPort"] for port in pod_spec(manifests)["containers"][0]["ports"]}
    assert ports[monitor["podMetricsEndpoints"][0]["port"]] == 9999
    assert len(of_kind(manifests, "Service")) == 1


def test_network_policy(helm: Helm) -> None:
    """The policy allows calls, metrics and probes by the container's ports, and egress to the API server."""
    policy = only(rendered(helm, {"networkPolicy.enabled": True}), "NetworkPolicy")["spec"]
    ports = [port["port"] for rule in policy["ingress"] for port in rule["ports"]]
    assert ports == ["webhook-server", "metrics", "healthz"]
    assert "from" not in policy["ingress"][0]
    assert [port["port"] for port in policy["egress"][0]["ports"]] == [443, 6443]
    peers = {f"networkPolicy.{port}From": [{"ipBlock": {"cidr": f"10.{n}.0.0/16"}}] for n, port in enumerate(PORTS)}
    narrow = only(rendered(helm, {"networkPolicy.enabled": True, **peers}), "NetworkPolicy")["spec"]
    assert [rule["from"] for rule in narrow["ingress"]] == list(peers.values())
    silent = only(rendered(helm, {"networkPolicy.enabled": True, "metricsAddr": "0"}), "NetworkPolicy")["spec"]
    assert [port["port"] for rule in silent["ingress"] for port in rule["ports"]] == ["webhook-server", "healthz"]
