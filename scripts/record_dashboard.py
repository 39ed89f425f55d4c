"""Records the queries of the chart's Grafana dashboard for the manual: `make dashboard`.

A real API server sends pods to the webhook for two minutes; pods that are refused and that cause warnings are
among them, and the API server restarts once. Prometheus scrapes the webhook and evaluates each query.
"""

import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import urllib3

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane, Programs, control_plane
from testbed.cluster.manifests import CLIENT_ID, pod
from testbed.cluster.server import install_account, register, scope, serving
from testbed.processes import free_ports, running, until
from testbed.program import ROOT

DASHBOARD: Final = ROOT / "charts" / "workload-identity-webhook" / "files" / "dashboard.json"
RECORDED: Final = ROOT / "docs" / "operate" / "dashboard.json"
SECONDS: Final = 120
STEP: Final = 2
RATE_INTERVAL: Final = "16s"
NAMESPACE: Final = "azwi-system"
PODS: Final = (
    *(pod("app", serviceAccountName="app") for _ in range(6)),
    pod("refused", annotations={names.INJECT_PROXY: "true", names.PROXY_PORT: "http"}, serviceAccountName="app"),
    pod("warned", annotations={names.SKIP_CONTAINERS: "gone"}, serviceAccountName="app"),
    pod("default", serviceAccountName="plain"),
)


def main() -> None:
    """Record every panel."""
    with TemporaryDirectory() as folder, ExitStack() as stack:
        directory = Path(folder)
        for name in ("plane", "webhook", "prometheus"):
            (directory / name).mkdir()
        ends = datetime.now(UTC) + timedelta(days=90)
        plane = stack.enter_context(control_plane(Programs.find(), directory / "plane"))
        server = stack.enter_context(serving(install_account(plane), directory / "webhook", not_after=ends))
        register(plane, server, "main")
        namespace = plane.create_namespace(scope("main"))
        plane.create_service_account(namespace, "app", {names.CLIENT_ID: CLIENT_ID})
        plane.create_service_account(namespace, "plain")
        (port,) = free_ports(1)
        url, http = f"http://127.0.0.1:{port}", urllib3.PoolManager()
        command = _prometheus(server.metrics_url, directory / "prometheus", port)
        stack.enter_context(running(command, directory / "prometheus.log"))
        until(lambda: _answers(http, url))
        end = _create_pods(plane, namespace)
        panels = [_panel(http, url, panel, end) for panel in json.loads(DASHBOARD.read_text())["panels"]]
    lines = ",\n".join(json.dumps(panel) for panel in panels)
    RECORDED.write_text(f'{{"seconds": {SECONDS}, "step": {STEP}, "panels": [\n{lines}\n]}}\n')


def _prometheus(metrics_url: str, directory: Path, port: int) -> list[str]:
    address, _, path = metrics_url.removeprefix("http://").partition("/")
    labels = {"namespace": NAMESPACE, "pod": "azwi-workload-identity-webhook-5d9c7b6f4-x2x4x"}
    job = {"job_name": "azwi", "metrics_path": f"/{path}", "static_configs": [{"targets": [address], "labels": labels}]}
    settings = {"global": {"scrape_interval": f"{STEP}s", "scrape_timeout": f"{STEP}s"}, "scrape_configs": [job]}
    (directory / "prometheus.yml").write_text(json.dumps(settings))  # JSON is YAML
    return [
        "prometheus",
        f"--config.file={directory / 'prometheus.yml'}",
        f"--storage.tsdb.path={directory}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]


def _answers(http: urllib3.PoolManager, url: str) -> bool:
    try:
        return http.request("GET", f"{url}/-/ready", retries=False).status == 200  # noqa: PLR2004  OK
    except urllib3.exceptions.HTTPError:
        return False


def _create_pods(plane: ControlPlane, namespace: str) -> float:
    """Create pods by dry run, and return the time of the end."""
    end, number, restarted = time.time() + SECONDS, 0, False
    while time.time() < end:
        _create(plane, namespace, PODS[number % len(PODS)])
        number += 1
        if not restarted and end - time.time() < SECONDS / 2:
            restarted = True
            with plane.apiserver.away():
                pass
    return time.time()


def _create(plane: ControlPlane, namespace: str, manifest: JsonObject) -> None:
    plane.http.request(
        "POST",
        f"{plane.url}/api/v1/namespaces/{namespace}/pods?dryRun=All",
        body=json.dumps(manifest),
        headers={"Content-Type": "application/json"},
    )


def _panel(http: urllib3.PoolManager, url: str, panel: JsonObject, end: float) -> JsonObject:
    series = [one for target in panel["targets"] for one in _query(http, url, target, end)]
    kept = {key: panel[key] for key in ("title", "type", "gridPos")}
    return {**kept, "unit": panel["fieldConfig"]["defaults"]["unit"], "series": series}


def _query(http: urllib3.PoolManager, url: str, target: JsonObject, end: float) -> list[JsonObject]:
    """Evaluate a query of the dashboard over the recorded time."""
    expression = target["expr"].replace("$__rate_interval", RATE_INTERVAL).replace("$namespace", NAMESPACE)
    fields = {"query": expression, "start": str(end - SECONDS), "end": str(end), "step": str(STEP)}
    answer = http.request("GET", f"{url}/api/v1/query_range", fields=fields).json()
    if answer["status"] != "success":
        raise SystemExit(f"{expression}: {answer['error']}")
    return [
        {"legend": _legend(target["legendFormat"], one["metric"]), "values": _values(one["values"], end)}
        for one in answer["data"]["result"]
    ]


def _legend(template: str, labels: dict[str, str]) -> str:
    for name, value in labels.items():
        template = template.replace(f"{{{{{name}}}}}", value)
    return template


def _values(found: list[tuple[float, str]], end: float) -> list[float | None]:
    """Return a value for each step, to three digits; None where there is none."""
    values: list[float | None] = [None] * (SECONDS // STEP + 1)
    for at, value in found:
        number = float(value)
        values[round((at - end + SECONDS) / STEP)] = None if number != number else float(f"{number:.3g}")  # noqa: PLR0124  NaN
    return values


if __name__ == "__main__":
    main()
