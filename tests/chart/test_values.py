"""values.yaml, its schema, its README and the templates agree."""

import json
import subprocess
import sys
from typing import Any, Final

import pytest
import yaml

from azure_workload_identity.types import JsonObject
from scripts.chart_values import documented_values
from testbed.program import ROOT
from tests.chart.helm import BASE, CHART, Helm
from tests.chart.test_settings import ENDPOINT, MOUNTED
from tests.chart.test_settings import VALUES as OF_SETTINGS

RULES: Final[JsonObject] = yaml.safe_load((CHART / "values.rules.yaml").read_text())
TEXT: Final = (CHART / "values.yaml").read_text()
DEFAULTS: Final[JsonObject] = yaml.safe_load(TEXT)
SCHEMA: Final[JsonObject] = json.loads((CHART / "values.schema.json").read_text())
NAMES: Final = {value.name: value.default for value in documented_values(TEXT)}

# Values without which another value has no effect, by the latter's prefix.
CONTEXTS: Final[dict[str, JsonObject]] = {
    "policy.": {"engine": "policy"},
    "autoscaling.": {"autoscaling.enabled": True},
    "networkPolicy.": {"networkPolicy.enabled": True},
    "metrics.service.": {"metrics.service.enabled": True},
    "metrics.serviceMonitor.": {"metrics.serviceMonitor.enabled": True},
    "metrics.podMonitor.": {"metrics.podMonitor.enabled": True},
    "metrics.prometheusRule.": {"metrics.prometheusRule.enabled": True},
    "metrics.dashboard.": {"metrics.dashboard.enabled": True},
    "certificates.certManager.": {"certificates.mode": "cert-manager"},
    "customTokenEndpoint.azureKubernetesCACTBLabelSelector": {
        "customTokenEndpoint.azureKubernetesCACTBSignerName": "a.b/c"
    },
    "serviceAccount.create": {"serviceAccount.name": "mine"},
}
DIGEST: Final = "sha256:" + "0" * 64
PEER: Final = [{"ipBlock": {"cidr": "10.0.0.0/8"}}]
RELABELINGS: Final = [{"action": "labeldrop", "regex": "pod"}]
LABELS: Final = {"team": "identity"}
# Non-default values, where one cannot be derived from the default.
EXAMPLES: Final[JsonObject] = {
    "policy.accountSelector": {"matchLabels": LABELS},
    "identityMapping.mappings": [{"namespace": "shop"}],
    "global.imageRegistry": "registry.example.com",
    "global.imagePullSecrets": [{"name": "pull"}],
    "imagePullSecrets": [{"name": "pull"}],
    "image.registry": "registry.example.com",
    "image.repository": "other",
    "image.release": "2",
    "image.digest": DIGEST,
    "proxy.image.registry": "registry.example.com",
    "proxy.image.release": "2",
    "proxy.image.digest": DIGEST,
    "certificates.certManager.issuerRef": {"name": "company"},
    "certificates.certManager.privateKey": {"algorithm": "RSA"},
    "webhook.matchConditions": [{"name": "a", "expression": "true"}],
    "webhook.excludedNamespaces": [],
    "mutatingWebhookNamespaceSelector": {"matchLabels": LABELS},
    "extraArgs": ["--webhook-host=::"],
    "extraEnv": [{"name": "A", "value": "b"}],
    "extraVolumes": [{"name": "more", "emptyDir": {}}],
    "extraVolumeMounts": [{"name": "more", "mountPath": "/more"}],
    "updateStrategy": {"type": "Recreate"},
    "tolerations": [{"operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "topologySpreadConstraints": [{"topologyKey": "a", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}],
    "priorityClassName": "other",
    "podSecurityContext": {"fsGroup": 1},
    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    "terminationGracePeriodSeconds": 90,
    "podDisruptionBudget.minAvailable": 1,
    "podDisruptionBudget.maxUnavailable": 2,
    "autoscaling.behavior": {"scaleUp": {"stabilizationWindowSeconds": 1}},
    "service.ipFamilyPolicy": "PreferDualStack",
    "service.ipFamilies": ["IPv6"],
    "networkPolicy.webhookFrom": PEER,
    "networkPolicy.metricsFrom": PEER,
    "networkPolicy.healthFrom": PEER,
    "networkPolicy.apiServerTo": PEER,
    "networkPolicy.apiServerPorts": [8443],
    "networkPolicy.extraEgress": [{"to": PEER}],
    "serviceAccount.name": "mine",
    "metrics.serviceMonitor.relabelings": RELABELINGS,
    "metrics.serviceMonitor.metricRelabelings": RELABELINGS,
    "metrics.podMonitor.relabelings": RELABELINGS,
    "metrics.podMonitor.metricRelabelings": RELABELINGS,
    "metrics.prometheusRule.disabled": ["AzureWorkloadIdentityWebhookDown"],
    "metrics.prometheusRule.extraRules": [{"record": "a:b", "expr": "1"}],
    "metrics.prometheusRule.runbookURL": "https://wiki.example.com/azwi",
    "nameOverride": "other",
    "fullnameOverride": "other",
    "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}],
    "test.namespace": "other",
}
# Only one value is possible; kept because v1.6.0's values files have it.
SINGLE: Final = {"metricsBackend"}
# Valid only in combination; tests/chart/test_settings.py and test_certificates.py cover them.
TOGETHER: Final = {*ENDPOINT, *MOUNTED}
# Of this the rendering shows nothing without a cluster: tests/cluster/test_chart_modes.py.
NEEDS_CLUSTER: Final = {"webhook.failWhenReady"}
TRIED: Final = [name for name in NAMES if name not in SINGLE | TOGETHER | NEEDS_CLUSTER]


def schema_of(name: str) -> JsonObject:
    """Return the schema of a value."""
    found = SCHEMA
    for key in name.split("."):
        found = found["properties"][key]
    return found


def example(name: str) -> Any:  # noqa: ANN401, PLR0911  any value; one return per way to get it
    """Return a value other than the default."""
    default, schema = NAMES[name], schema_of(name)
    if name in EXAMPLES:
        return EXAMPLES[name]
    for values, _ in OF_SETTINGS.values():
        if name in values:
            return values[name]
    if "enum" in schema:
        return next(value for value in schema["enum"] if value not in (default, ""))
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    if name.endswith(("interval", "scrapeTimeout")):
        return "7s"
    assert isinstance(default, dict), name
    return {**default, "team": "identity"}


def context(name: str) -> JsonObject:
    """Return the values without which this one has no effect."""
    contexts = [values for prefix, values in CONTEXTS.items() if name.startswith(prefix)]
    return {key: value for values in contexts for key, value in values.items() if key != name}


@pytest.fixture(scope="module")
def before_and_after(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """Render the chart with the default and with another value, for each value."""
    contexts = {name: json.dumps(context(name)) for name in TRIED}
    before = dict.fromkeys(contexts.values())
    after = [{**context(name), name: example(name)} for name in TRIED]
    texts = helm.variants([*map(json.loads, before), *after], tmp_path_factory.mktemp("values"))
    plain = dict(zip(before, texts, strict=False))
    return {name: (plain[contexts[name]], text) for name, text in zip(TRIED, texts[len(before) :], strict=True)}


@pytest.mark.renders
@pytest.mark.parametrize("name", TRIED)
def test_value_takes_effect(before_and_after: dict[str, tuple[str, str]], name: str) -> None:
    """A value other than the default changes the rendered objects."""
    before, after = before_and_after[name]
    assert before != after


def leaves(tree: JsonObject, schema: JsonObject, path: str = "") -> set[str]:
    """Return the names of values, down to maps whose keys the user chooses."""
    names = set[str]()
    for key, value in tree.items():
        below = schema["properties"][key]
        deeper = isinstance(value, dict) and "properties" in below and path + key not in NAMES
        names |= leaves(value, below, f"{path}{key}.") if deeper else {path + key}
    return names


def test_every_value_is_documented() -> None:
    """Each value has a description, and each description has a value."""
    assert leaves(DEFAULTS, SCHEMA) == set(NAMES)


def known(schema: JsonObject, path: str = "") -> set[str]:
    """Return the names in the schema, down to documented values."""
    names = set[str]()
    for key, below in schema["properties"].items():
        deeper = "properties" in below and path + key not in NAMES
        names |= known(below, f"{path}{key}.") if deeper else {path + key}
    return names


def test_schema_knows_every_value() -> None:
    """The schema has exactly the values of values.yaml, and the names that are mistaken for them."""
    assert known(SCHEMA) == {*NAMES, *RULES["misnamed"]}


def test_schema_refuses_typos() -> None:
    """The schema refuses unknown keys everywhere except in `global`, which other charts use too."""
    open_maps = []

    def look(schema: JsonObject, path: str) -> None:
        if "properties" in schema:
            open_maps.extend([path] if schema.get("additionalProperties") is not False else [])
            for key, below in schema["properties"].items():
                look(below, f"{path}.{key}")

    look(SCHEMA, "")
    assert [path for path in open_maps if "items" not in path] == [".global"]


def test_upstream_values_are_known() -> None:
    """Every value of v1.6.0's chart exists in this chart."""
    (upstream,) = (CHART / "ci").glob("*-v1.6.0-values.yaml")
    values = yaml.safe_load(upstream.read_text())
    assert len(values) > 20
    assert values.keys() <= DEFAULTS.keys()


@pytest.mark.parametrize("script", ["write_values", "write_values_schema", "write_values_defaults"])
def test_generated_files_are_up_to_date(script: str) -> None:
    """What `make docs` generates from values.yaml and its rules is up to date."""
    command = [sys.executable, "-m", f"scripts.{script}", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_base() -> None:
    """The tenant is the only required value."""
    assert BASE.keys() == {"azureTenantID"}
