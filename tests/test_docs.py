"""The manual says what the code does."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import yaml

from azure_workload_identity import names
from azure_workload_identity.entra import MEANINGS
from imds_proxy import settings
from imds_proxy.metrics import Metrics as ProxyMetrics
from scripts import write_plots
from testbed.program import ROOT
from webhook.admission.reasons import Reason, WarningCode
from webhook.config import identity_mapping
from webhook.server.metrics import Metrics

PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "charts").rglob("*.md")])


def text(page: str) -> str:
    """Read a page of the manual."""
    return (ROOT / "docs" / page).read_text()


def test_settings_page() -> None:
    """The page of settings is the one that the code makes."""
    command = [sys.executable, "-m", "scripts.write_settings", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_entra_errors_page() -> None:
    """The page of Entra's errors is the one that the code makes; the page of questions names no other code."""
    command = [sys.executable, "-m", "scripts.write_entra_errors", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    asked = set(re.findall(r"AADSTS(\d+)", text("operate/faq.md")))
    assert asked
    assert asked <= {str(code) for code in MEANINGS}


def test_memory_is_one_number() -> None:
    """The memory of a server with 50,000 ServiceAccounts is the measured one wherever it is named, in MiB."""
    measured = re.findall(r"^\| 50,000 \|(?:[^|]*\|){3} ([\d.]+) \|", text("develop/benchmarks.md"), re.MULTILINE)
    chart = ROOT / "charts" / "workload-identity-webhook"
    named = [
        found
        for file in (chart / "values.yaml", chart / "README.md", chart / "templates" / "_checks.tpl")
        for found in re.findall(r"(\d+) (?:MiB )?with 50,000 ServiceAccounts", file.read_text())
    ]
    named += re.findall(r"50,000 ServiceAccounts \| [^|]* \| \[(\d+) MiB\]", (ROOT / "README.md").read_text())
    assert len(named) == 4
    assert {int(number) for number in named} == {round(float(number)) for number in measured}


def test_diagram() -> None:
    """Every drawing is the one that its source makes."""
    command = [sys.executable, "-m", "scripts.write_diagram", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_plots() -> None:
    """Every plot is the one that recorded values or its page's table make; the dashboard's has each of its panels."""
    assert {file.name for file, made in write_plots.pictures().items() if file.read_text() != made} == set()
    dashboard = ROOT / "charts" / "workload-identity-webhook" / "files" / "dashboard.json"
    recorded = json.loads(text("operate/dashboard.json"))["panels"]
    panels = json.loads(dashboard.read_text())["panels"]
    assert [panel["title"] for panel in recorded] == [panel["title"] for panel in panels]


def test_reasons() -> None:
    """Every reason and warning code is on the page of decisions, and no other."""
    codes = set(re.findall(r"^### ([a-z-]+)$", text("reference/decisions.md"), re.MULTILINE))
    not_reviews = {"broken-review", "not-json", "wrong-content-type", "body-too-large", "slow-body", "client-gone"}
    assert codes == {*Reason, *WarningCode, *not_reviews, "accounts-unavailable", "overloaded", "internal-error"}


def test_annotations() -> None:
    """Every label and annotation is on the page of annotations."""
    page = text("reference/annotations.md")
    keys = {names.USE_LABEL, *names.ACCOUNT_ANNOTATIONS, *names.POD_ANNOTATIONS}
    assert not [key for key in keys if key.removeprefix(names.PREFIX) not in page]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    """Every link to a file of the project leads to one."""
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert not [target for target in targets if not (page.parent / target).exists()]


def test_index() -> None:
    """The index of the manual has every page of it, and where each page that has moved was."""
    index = text("README.md")
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")} - {"README.md"}
    assert not [page for page in pages if f"]({page})" not in index]
    moved = re.findall(r"^\| `docs/[\w-]+\.md` \| \[", index, re.MULTILINE)
    assert len(moved) == 26


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors(page: Path) -> None:
    """Every link to a section leads to a heading of that page, or to an anchor in it."""
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())
    missing = []
    for target, anchor in links:
        other = (page.parent / target if target else page).read_text()
        headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", other, flags=re.DOTALL), re.MULTILINE)
        known = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        known.update(re.findall(r'<a id="([^"]+)"></a>', other))
        missing += [f"{target}#{anchor}"] if anchor not in known else []
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures(page: Path) -> None:
    """Every picture is a link to itself, so that it can be seen in its full size."""
    pictures = re.findall(r"(\[?)!\[[^\]]+\]\(([^)]+)\)(?:\]\(([^)]+)\))?", page.read_text())
    assert [(start, shown) for start, shown, full in pictures if shown != full] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make_targets(page: Path) -> None:
    """Every make target that a page names exists."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


def test_flags() -> None:
    """Every flag that a page gives to the server is one."""
    known = set(re.findall(r"`--([a-z-]+)`", text("reference/settings.md")))
    for page in PAGES:
        for command in re.findall(
            r"(?:azwi-webhook|webhook\.demo)((?:\s+\\?\s*--[a-z-]+(?:=\S+)?)+)", page.read_text()
        ):
            assert set(re.findall(r"--([a-z-]+)", command)) <= known | {"help"}, page


def test_metrics() -> None:
    """Every metric is on the page of operations with its labels, and no other."""
    page = re.findall(r"^\| `(azwi_\w+)` \| (.*?) \|", text("operate/operations.md"), re.MULTILINE)
    documented = {
        name.removesuffix("_total").removesuffix("_info"): set(re.findall(r"`(\w+)`", labels)) for name, labels in page
    }
    metrics = Metrics()
    known = {
        family.name: set(getattr(collector, "_labelnames", ()))
        for collector in metrics.registry._collector_to_names
        for family in collector.collect()
        if family.name.startswith("azwi_")
    }
    known["azwi_build"] = {"version", "python"}
    known["azwi_mutation_request"].add("le")
    assert documented == known


def test_proxy_page() -> None:
    """Every flag, variable and metric of the proxy is on its page."""
    page, flags = text("use/proxy.md"), settings.parser({}).format_help()
    assert not [flag for flag in re.findall(r"--[a-z-]+", flags) if f"`{flag}`" not in page and flag != "--help"]
    assert not [name for name in settings.VARIABLES if f"`{name}`" not in page]
    metrics = re.findall(r"# TYPE (\S+)", ProxyMetrics().text(0).decode())
    assert metrics == re.findall(r"^\| `([a-z_]+)` \|", page[page.index("| Metric |") :], re.MULTILINE)


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/develop/architecture.md"])
def test_named_files(name: str) -> None:
    """Every file and folder that the recipes and the map of the code name exists."""
    page = (ROOT / name).read_text()
    paths = re.findall(r"`(\w[\w.-]*/[\w./-]*)`", page)
    read_first = re.findall(r"^\| `([\w/]+/)` \|.*\| `([\w.]+)` \|$", page, re.MULTILINE)
    paths += [folder + file for folder, file in read_first]
    assert len(paths) > 15
    assert not [path for path in paths if not (ROOT / path).exists()]


@pytest.mark.parametrize("name", ["Makefile", ".ci/run"])
def test_named_folders(name: str) -> None:
    """Every file and folder of tests, scripts and requirements that a build file names exists."""
    paths = re.findall(r"(?<![\w/.])((?:tests|scripts|requirements|\.ci)/[\w./-]+)", (ROOT / name).read_text())
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_glossary() -> None:
    """The glossary has at most 20 words."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    words = re.findall(r"^\| ([^|]+) \| ", page[page.index("## Glossary") :], re.MULTILINE)[1:]
    assert 10 < len(words) <= 20


def test_security_page() -> None:
    """SECURITY.md has every right that the chart's roles grant, and no other."""
    granted = set()
    for name in ("clusterrole", "role"):
        template = (ROOT / "charts" / "workload-identity-webhook" / "templates" / f"{name}.yaml").read_text()
        first = re.sub(r"\{\{.*?\}\}", "", template).split("\n---\n")[0]
        for rule in yaml.safe_load(first)["rules"]:
            granted |= {(resource, verb) for resource in rule["resources"] for verb in rule["verbs"]}
    rows = re.findall(
        r"^\| (?:the cluster|its namespace) \| (.*?) \|", (ROOT / "SECURITY.md").read_text(), re.MULTILINE
    )
    documented = set()
    for row in rows:
        kind = re.findall(r"\b(ServiceAccount|MutatingWebhookConfiguration|Secret|ConfigMap|Event)s?\b", row)[0]
        verbs = re.findall(r"\b(get|list|watch|create|update|patch|delete)\b", row)
        documented |= {(f"{kind.lower()}s", verb) for verb in verbs}
    assert documented == granted


def test_mapping_example() -> None:
    """The mapping in the manual is the example, and it loads."""
    shown = re.search(r"```yaml\n(.*?)```", text("use/identity-mapping.md"), re.DOTALL)
    example = ROOT / "examples" / "identity-mapping.yaml"
    assert shown is not None
    assert yaml.safe_load(shown[1]) == yaml.safe_load(example.read_text())
    found = identity_mapping.load(example).find("shop-1", "web")
    assert found is not None
    assert found.tenant_id == "contoso.onmicrosoft.com"
