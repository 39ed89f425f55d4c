"""The real helm and the objects that it renders."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml

from azure_workload_identity.types import JsonObject
from testbed import tools
from testbed.program import ROOT

CHART: Final = ROOT / "charts" / "workload-identity-webhook"
VALUE_SETS: Final = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE: Final = "azwi-system"
RELEASE: Final = "azwi"
FULLNAME: Final = "azwi-workload-identity-webhook"
TENANT_ID: Final = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"
BASE: Final[Mapping[str, Any]] = {"azureTenantID": TENANT_ID}


class HelmError(Exception):
    """Helm failed; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Helm:
    """The program."""

    program: Path

    @classmethod
    def find(cls) -> "Helm":
        """Find it as `make cluster-tools` leaves it, or on PATH.

        Raises:
            FileNotFoundError: There is none; the message says how to get it.
        """
        found = shutil.which("helm", path=os.pathsep.join((str(tools.folder()), os.environ["PATH"])))
        if found is None:
            raise FileNotFoundError(f"no helm in {tools.folder()} or on PATH: run make cluster-tools")
        return cls(Path(found))

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run it and return what it printed.

        Raises:
            HelmError: It failed.
        """
        done = subprocess.run(
            [str(self.program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "GOGC": "off"},  # of so short a run, collecting garbage is a fifth
        )
        if done.returncode:
            raise HelmError(done.stdout + done.stderr)
        return done.stdout

    def template(self, *arguments: str, chart: Path = CHART, values: Mapping[str, Any] | None = None) -> str:
        """Render the chart with values given as `helm --set` names them."""
        return self.run(
            *("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", "--values=-"),
            *arguments,
            stdin=json.dumps(nested(values or {})),
        )

    def variants(self, every: Sequence[Mapping[str, Any]], directory: Path) -> list[str]:
        """Render the chart with many sets of values by one run, as so many subcharts of a chart made for it.

        Raises:
            HelmError: Helm refused some; the message has a part for each.
        """
        names = [f"v{number:03d}" for number in range(len(every))]
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
        shutil.copytree(CHART, directory / "charts" / CHART.name)
        dependencies = [{"name": CHART.name, "version": version, "alias": name} for name in names]
        parent = {"apiVersion": "v2", "name": "variants", "version": "0.0.0", "dependencies": dependencies}
        (directory / "Chart.yaml").write_text(json.dumps(parent))
        values = {name: {**BASE, **each} for name, each in zip(names, every, strict=True)}
        (directory / "values.yaml").write_text(json.dumps({name: nested(each) for name, each in values.items()}))
        parts = dict.fromkeys(names, "")
        for part in self.template(chart=directory).split("\n---\n"):
            source = re.search(r"^# Source: variants/charts/(v\d+)/", part, re.MULTILINE)
            assert source is not None
            parts[source[1]] += f"{part}\n---\n"
        return list(parts.values())


def nested(values: Mapping[str, Any]) -> JsonObject:
    """Return the maps that dotted names stand for."""
    tree: JsonObject = {}
    for name, value in values.items():
        *path, last = name.split(".")
        branch = tree
        for step in path:
            branch = branch.setdefault(step, {})
        branch[last] = value
    return tree


def objects(text: str) -> list[JsonObject]:
    """Return the objects of a rendered text."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


@cache
def _rendered(helm: Helm, values: str) -> list[JsonObject]:
    return objects(helm.template(values={**BASE, **json.loads(values)}))


def rendered(helm: Helm, values: Mapping[str, Any] | None = None) -> list[JsonObject]:
    """Render the chart with values on top of a tenant; each set of values is rendered once a run."""
    return _rendered(helm, json.dumps(values or {}))


def of_kind(manifests: list[JsonObject], kind: str) -> list[JsonObject]:
    """Return the objects of a kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only(manifests: list[JsonObject], kind: str, name: str = "") -> JsonObject:
    """Return the one object of a kind, or of a kind and name."""
    (found,) = [each for each in of_kind(manifests, kind) if not name or each["metadata"]["name"] == name]
    return found


def server(manifests: list[JsonObject]) -> JsonObject:
    """Return the server's container."""
    (container,) = pod_spec(manifests)["containers"]
    return dict(container)


def pod_spec(manifests: list[JsonObject]) -> JsonObject:
    """Return the spec of the Deployment's pods."""
    return dict(only(manifests, "Deployment")["spec"]["template"]["spec"])


def flags(manifests: list[JsonObject]) -> dict[str, str]:
    """Return the flags that the server is started with."""
    pairs = (argument.removeprefix("--").partition("=") for argument in server(manifests)["args"])
    return {name: value for name, _, value in pairs}


def variables(manifests: list[JsonObject]) -> dict[str, str | None]:
    """Return the variables that the server is started with; those from elsewhere have no value."""
    return {variable["name"]: variable.get("value") for variable in server(manifests)["env"]}
