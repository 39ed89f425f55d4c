"""Runs the real helm and reads the objects that it renders."""

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
from testbed.processes import MAX_WAIT_SECONDS
from testbed.program import ROOT

CHART: Final = ROOT / "charts" / "workload-identity-webhook"
VALUE_SETS: Final = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE: Final = "azwi-system"
RELEASE: Final = "azwi"
FULLNAME: Final = "azwi-workload-identity-webhook"
TENANT_ID: Final = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"
BASE: Final[Mapping[str, Any]] = {"azureTenantID": TENANT_ID}


class HelmError(Exception):
    """Helm failed; the message is its output."""


@dataclass(frozen=True, slots=True)
class Helm:
    """The helm program."""

    program: Path

    @classmethod
    def find(cls) -> "Helm":
        """Find helm where `make cluster-tools` puts it, or on PATH.

        Raises:
            FileNotFoundError: Helm is missing; the message says how to get it.
        """
        found = shutil.which("helm", path=os.pathsep.join((str(tools.folder()), os.environ["PATH"])))
        if found is None:
            raise FileNotFoundError(f"no helm in {tools.folder()} or on PATH: run make cluster-tools")
        return cls(Path(found))

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run helm and return its standard output.

        Raises:
            HelmError: Helm failed.
        """
        done = subprocess.run(
            [str(self.program), *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=MAX_WAIT_SECONDS,
            env={**os.environ, "GOGC": "off"},  # garbage collection is a fifth of so short a run
        )
        if done.returncode:
            raise HelmError(done.stdout + done.stderr)
        return done.stdout

    def template(self, *arguments: str, chart: Path = CHART, values: Mapping[str, Any] | None = None) -> str:
        """Render the chart with values keyed as in `helm --set`."""
        return self.run(
            *("template", RELEASE, str(chart), f"--namespace={NAMESPACE}", "--values=-"),
            *arguments,
            stdin=json.dumps(nested(values or {})),
        )

    def variants(self, value_sets: Sequence[Mapping[str, Any]], directory: Path) -> list[str]:
        """Render the chart with many sets of values in one run, as subcharts of a chart that is written to `directory`.

        Raises:
            HelmError: Helm refused some of the values; the message has a section for each.
        """
        names = [f"v{number:03d}" for number in range(len(value_sets))]
        version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
        shutil.copytree(CHART, directory / "charts" / CHART.name)
        dependencies = [{"name": CHART.name, "version": version, "alias": name} for name in names]
        parent = {"apiVersion": "v2", "name": "variants", "version": "0.0.0", "dependencies": dependencies}
        (directory / "Chart.yaml").write_text(json.dumps(parent))
        values = {name: nested({**BASE, **variant}) for name, variant in zip(names, value_sets, strict=True)}
        (directory / "values.yaml").write_text(json.dumps(values))
        parts = dict.fromkeys(names, "")
        for part in self.template(chart=directory).split("\n---\n"):
            source = re.search(r"^# Source: variants/charts/(v\d+)/", part, re.MULTILINE)
            assert source is not None
            parts[source[1]] += f"---\n{part.removeprefix('---').strip()}\n"
        # Helm calls a subchart by its alias, in names and labels too.
        return [text.replace(name, CHART.name) for name, text in parts.items()]


def nested(values: Mapping[str, Any]) -> JsonObject:
    """Expand dotted names to nested maps."""
    tree: JsonObject = {}
    for name, value in values.items():
        *path, last = name.split(".")
        branch = tree
        for key in path:
            branch = branch.setdefault(key, {})
        branch[last] = value
    return tree


def objects(text: str) -> list[JsonObject]:
    """Return the objects of a rendered text."""
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


@cache
def _rendered(helm: Helm, values: str) -> list[JsonObject]:
    return objects(helm.template(values={**BASE, **json.loads(values)}))


def rendered(helm: Helm, values: Mapping[str, Any] | None = None) -> list[JsonObject]:
    """Render the chart with a tenant and these values; equal values are rendered once per run."""
    return _rendered(helm, json.dumps(values or {}))


def of_kind(manifests: list[JsonObject], kind: str) -> list[JsonObject]:
    """Return the objects of a kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def only(manifests: list[JsonObject], kind: str, name: str = "") -> JsonObject:
    """Return the only object of a kind, or of a kind and name."""
    (found,) = [it for it in of_kind(manifests, kind) if not name or it["metadata"]["name"] == name]
    return found


def server(manifests: list[JsonObject]) -> JsonObject:
    """Return the server's container."""
    (container,) = pod_spec(manifests)["containers"]
    return dict(container)


def pod_spec(manifests: list[JsonObject]) -> JsonObject:
    """Return the spec of the Deployment's pods."""
    return dict(only(manifests, "Deployment")["spec"]["template"]["spec"])


def flags(manifests: list[JsonObject]) -> dict[str, str]:
    """Return the server's flags."""
    pairs = (argument.removeprefix("--").partition("=") for argument in server(manifests)["args"])
    return {name: value for name, _, value in pairs}


def variables(manifests: list[JsonObject]) -> dict[str, str | None]:
    """Return the server's environment variables; None for those with a valueFrom."""
    return {variable["name"]: variable.get("value") for variable in server(manifests)["env"]}
