"""The chart accepts every helm command and values file in the documentation."""

import re
import shlex
from functools import cache
from pathlib import Path
from typing import Final

import pytest
import yaml

from azure_workload_identity.types import JsonObject
from testbed.program import ROOT
from tests.chart.helm import BASE, CHART, NAMESPACE, Helm, HelmError, objects, only

PAGES: Final = [
    *(ROOT / "docs" / "install" / f"{name}.md" for name in ("chart", "gitops", "registries", "migrate", "uninstall")),
    ROOT / "docs" / "operate" / "alerts.md",
    CHART / "README.md",
]
BLOCK: Final = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CHART_NAMES: Final = {"charts/workload-identity-webhook", "workload-identity-webhook-0.1.0.tgz"}


def blocks(page: Path, language: str) -> list[str]:
    """Return a page's code blocks in a language, "" for commands."""
    return [text for found, text in BLOCK.findall(page.read_text()) if found == language]


def commands(page: Path) -> list[list[str]]:
    """Return a page's helm commands that name the chart, split into words."""
    text = "\n".join(blocks(page, "")).replace("\\\n", " ")
    lines = [line.strip().removeprefix("$ ").partition(" |")[0].partition(" >")[0] for line in text.splitlines()]
    words = [shlex.split(line) for line in lines if line.startswith("helm ")]
    return [command for command in words if command[1] != "package" and CHART_NAMES & set(command)]


COMMANDS: Final = [(page.name, words) for page in PAGES for words in commands(page)]
# Flags of install and upgrade that `helm template` does not have.
NOT_FOR_TEMPLATE: Final = {"--install", "--create-namespace", "--reuse-values", "--reset-values", "--take-ownership"}


def test_there_are_commands() -> None:
    """The pages contain commands for the tests below."""
    assert len(COMMANDS) > 10


@cache
def help_of(helm: Helm, command: str) -> str:
    """Return the help text of a helm command."""
    return helm.run(command, "--help")


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=[f"{page}-{n}" for n, (page, _) in enumerate(COMMANDS)])
def test_command(helm: Helm, tmp_path: Path, page: str, words: list[str]) -> None:
    """The chart accepts the values of each command, and helm knows its flags."""
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    (tmp_path / "values.yaml").write_text("azureTenantID: contoso.com\n")
    known = help_of(helm, words[1])
    assert not [word for word in words if word.startswith("--") and word.partition("=")[0] not in known], page
    rest = [word for word in words[2:] if word not in NOT_FOR_TEMPLATE | {"--force-conflicts"}]
    rest = [str(CHART) if word in CHART_NAMES else word for word in rest]
    rest = [
        re.sub(r"(?<==)(values.yaml|ca.crt)$|^(values.yaml)$", lambda it: str(tmp_path / it[0]), word) for word in rest
    ]
    reused = ["--set=azureTenantID=contoso.com"] if "--reuse-values" in words else []
    if "minAvailable=1" in " ".join(words):
        with pytest.raises(HelmError, match="These values cannot be used"):
            helm.run("template", *rest, *reused)
    else:
        assert only(objects(helm.run("template", *rest, *reused)), "Deployment")


VALUES: Final = [
    (page.name, text) for page in PAGES for text in blocks(page, "yaml") if "kind: " not in text.split("\n")[1]
]


@pytest.mark.parametrize(("page", "text"), VALUES, ids=[f"{page}-{n}" for n, (page, _) in enumerate(VALUES)])
def test_values(helm: Helm, tmp_path: Path, page: str, text: str) -> None:
    """The chart accepts the values that a page shows."""
    path = tmp_path / page
    path.write_text(text)
    assert objects(helm.run("template", "azwi", str(CHART), f"--namespace={NAMESPACE}", f"--values={path}"))


def test_gitops_values(helm: Helm) -> None:
    """The chart accepts the values of the Argo CD and Flux examples, and the objects that these ignore exist."""
    pages = [yaml.safe_load(text) for text in blocks(ROOT / "docs" / "install" / "gitops.md", "yaml")]
    by_kind = {page.get("kind"): page for page in pages}
    application, release = by_kind["Application"], by_kind["HelmRelease"]
    examples: list[JsonObject] = [application["spec"]["source"]["helm"]["valuesObject"], release["spec"]["values"]]
    for values in examples:
        manifests = objects(helm.template(values={**BASE, **values}))
        ignored = application["spec"]["ignoreDifferences"][1]
        assert only(manifests, ignored["kind"])["metadata"]["name"] == ignored["name"]


def test_refusal_is_quoted(helm: Helm) -> None:
    """The refusal quoted in the documentation is the one that helm prints."""
    (quoted,) = re.findall(r"^These values cannot be used:\n- (.*)$", PAGES[0].read_text(), re.MULTILINE)
    with pytest.raises(HelmError, match=re.escape(quoted)):
        helm.template(values={**BASE, "replicaCount": 1, "podDisruptionBudget.minAvailable": 1})


def test_names_in_the_readme(value_sets: dict[str, list[JsonObject]]) -> None:
    """The README's table of names matches the rendered names."""
    text = (CHART / "README.md").read_text()
    for name, column in (("01-tenant-values.yaml", 1), ("04-upstream-names-values.yaml", 2)):
        for row in re.findall(r"^\| (\w+) \| (azw\S+) \| (azure-\S+) \|$", text, re.MULTILINE):
            assert only(value_sets[name], row[0], row[column]), row


def test_alerts_in_the_manual(value_sets: dict[str, list[JsonObject]]) -> None:
    """The page lists every alert."""
    (group,) = only(value_sets["24-monitoring-values.yaml"], "PrometheusRule")["spec"]["groups"]
    alerts = {rule["alert"] for rule in group["rules"] if "alert" in rule}
    assert len(alerts) == 8
    assert alerts < set(re.findall(r"`(AzureWorkloadIdentity\w+)`", PAGES[0].read_text()))
