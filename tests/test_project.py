"""The project keeps its own rules."""

import re
import sys
import tomllib
from importlib import import_module
from importlib.metadata import packages_distributions
from typing import Any, Final

import grimp
import pytest

from azure_workload_identity import __version__
from azure_workload_identity.types import JsonObject
from testbed.program import ROOT

FOLDERS: Final = (
    "azure_workload_identity",
    "azwi_cli",
    "bench",
    "certs",
    "imds_proxy",
    "scripts",
    "testbed",
    "tests",
    "webhook",
)
PYPROJECT: Final[JsonObject] = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES: Final[list[str]] = PYPROJECT["tool"]["importlinter"]["root_packages"]


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda lock: lock.stem)
def test_locks(lock: Any) -> None:  # noqa: ANN401  a path
    """Every locked package has a version and hashes, and no lock names an address."""
    text = lock.read_text()
    packages = re.findall(
        r"^[a-zA-Z0-9][^\s#]*==[^\n]*\\\n(?:    --hash=sha256:[0-9a-f]{64}[^\n]*\n)+", text, re.MULTILINE
    )
    assert len(packages) == len(re.findall(r"^[a-zA-Z0-9]", text, re.MULTILINE)) > 0
    assert "://" not in text


def test_versions_agree() -> None:
    """The package's version is the distribution's."""
    assert PYPROJECT["project"]["version"] == __version__


def test_console_scripts() -> None:
    """Every console script leads to a function."""
    for target in PYPROJECT["project"]["scripts"].values():
        module, _, function = target.partition(":")
        assert callable(getattr(import_module(module), function))


def test_no_import_circles() -> None:
    """No module imports one that imports it, directly or by way of others, not even inside a function."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    circles = [
        (importer, imported)
        for importer in sorted(graph.modules)
        for imported in graph.find_modules_directly_imported_by(importer)
        if graph.chain_exists(importer=imported, imported=importer)
    ]
    assert len(graph.modules) > 100
    assert circles == []


def test_ruff_ignores_have_reasons() -> None:
    """Behind every rule that is ignored stands why."""
    text = (ROOT / "pyproject.toml").read_text()
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.pydocstyle]")]
    rules = [line for line in section.splitlines() if re.match(r'\s+"[A-Z]+[0-9]*",|^"[^"]+" = \["', line)]
    assert len(rules) > 10
    assert not [line for line in rules if "#" not in line]


def test_suppressions_have_reasons() -> None:
    """Behind every suppressed finding stands why."""
    bare = []
    for file in (file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")):
        lines = file.read_text().splitlines()
        bare += [
            f"{file}: {line}"
            for line in lines
            if re.search(r"# (ruff: )?noqa(: [A-Z]+[0-9]+(, [A-Z]+[0-9]+)*)?$", line)
        ]
    assert bare == []


def test_dependencies_are_declared() -> None:
    """A package that a program imports is among its dependencies: those of azwi, and those of the program's extra."""
    project, distributions = PYPROJECT["project"], packages_distributions()
    commands, extras = project["dependencies"], project["optional-dependencies"]
    declared = {
        "azwi_cli": commands,
        "imds_proxy": [*commands, *extras["proxy"]],
        **{name: [*commands, *extras["webhook"]] for name in ("azure_workload_identity", "certs", "webhook")},
    }
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)
    own = {module for module in graph.modules if not graph.is_module_squashed(module)}
    for module in sorted(own):
        known = {re.split("[><=]", line)[0].lower() for line in declared[module.split(".")[0]]}
        for name in graph.find_modules_directly_imported_by(module) - own - sys.stdlib_module_names:
            owners = {owner.lower().replace("_", "-") for owner in distributions[name.split(".")[0]]}
            assert owners & known, f"{module} imports {name}"


def test_no_conflict_markers() -> None:
    """No text of the project has the marks of a merge that was not finished."""
    marked = [
        file
        for file in [
            *ROOT.glob("*.md"),
            *(path for folder in (*FOLDERS, "docs", "charts") for path in (ROOT / folder).rglob("*")),
        ]
        if file.suffix in {".md", ".py", ".yaml", ".tpl", ".txt", ".sh"}
        and re.search(r"^(<{7}|>{7}) ", file.read_text(), re.MULTILINE)
    ]
    assert marked == []
