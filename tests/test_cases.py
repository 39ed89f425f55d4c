"""The golden cases: one folder a pod, with the response and the mutated pod. They are documentation, too.

`pytest tests/test_cases.py --update-cases` rewrites expected.yaml and response.yaml; read the difference before you
commit it.
"""

import copy
import difflib
import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonpatch
import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from azure_workload_identity import names
from azure_workload_identity.kube_yaml import reader
from azure_workload_identity.types import JsonObject
from testbed.pods import envelope
from webhook.accounts.files import load_accounts
from webhook.admission.admit import admit
from webhook.admission.identity import Account, IdentityMapping
from webhook.admission.policy import Policy
from webhook.admission.review import AdmissionOutcome, Decision, Review, response
from webhook.config import command_line, policies
from webhook.config.identity_mapping import parse
from webhook.server.decode import decode

CASES: Final = Path(__file__).parent / "cases"
FOLDERS: Final = sorted(path for path in CASES.iterdir() if path.is_dir())
FILES: Final = {"pod.yaml", "serviceaccount.yaml", "settings.yaml", "expected.yaml", "response.yaml"}
FLAGS: Final = ["--service-accounts=."]
ENVIRONMENT: Final = {"AZURE_TENANT_ID": "2f5e1c3a-9b7d-4c52-8f61-7a0b9d3e4c25"}


class Given(BaseModel):
    """A case's settings.yaml: flags, variables and the mapping as an administrator gives them, and the cluster."""

    model_config = ConfigDict(extra="forbid")

    flags: list[str] = []
    environment: dict[str, str] = {}
    mapping: list[JsonObject] = []
    cluster_version: str = Field("1.33", alias="clusterVersion")
    namespace: str = "default"
    namespace_labelled: bool = Field(default=False, alias="namespaceLabelled")

    def policy(self) -> Policy:
        """Read the settings as the server does."""
        loaded = command_line.load([*FLAGS, *self.flags], ENVIRONMENT | self.environment)
        major, minor = self.cluster_version.split(".")
        mapping = IdentityMapping(parse(yaml.safe_dump({"mappings": self.mapping})).entries)
        return policies.build(loaded, mapping, (int(major), int(minor)))


class Dumper(yaml.SafeDumper):
    """Writes YAML as people write manifests: lists indented, nothing shared."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  as PyYAML has it
        """Indent lists, too."""
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  the signature of the class
        """Write everything where it is."""
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Write text of several lines as a block."""
        return self.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


Dumper.add_representer(str, Dumper.represent_text)


def dumped(value: object) -> str:
    """Write YAML."""
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, width=120)


def read(path: Path) -> Any:  # noqa: ANN401  YAML
    """Read YAML, None where there is no file."""
    return reader.read_one(path.read_bytes(), str(path)) if path.exists() else None


def given_by(folder: Path) -> Given:
    """Read a case's settings, or the defaults."""
    return Given.model_validate(read(folder / "settings.yaml") or {})


def admitted(folder: Path, pod: object) -> tuple[Review, AdmissionOutcome]:
    """Admit a pod under a case's settings and account, from bytes as the server gets them."""
    given, file = given_by(folder), folder / "serviceaccount.yaml"
    accounts = load_accounts(file) if file.exists() else {}

    def find(namespace: str, name: str) -> Account | None:
        return accounts.get((namespace, name))

    review = Review.parse(decode(json.dumps(envelope(pod, namespace=given.namespace)).encode()))
    return review, admit(review, find, given.policy(), namespace_labelled=given.namespace_labelled)


def summary(review: Review, outcome: AdmissionOutcome) -> JsonObject:
    """Return the content of response.yaml: the response, with operations but without their values."""
    answer = response(review, outcome, None)["response"]
    fields = {
        "allowed": answer["allowed"],
        "decision": str(answer["auditAnnotations"]["decision"]),
        "reason": str(answer["auditAnnotations"]["reason"]),
        "message": answer.get("status", {}).get("message"),
        "warnings": answer.get("warnings"),
        "operations": [f"{operation['op']} {operation['path']}" for operation in outcome.operations],
    }
    return {key: value for key, value in fields.items() if value not in (None, [])}


def mutated(pod: JsonObject, outcome: AdmissionOutcome) -> JsonObject | None:
    """Return the content of expected.yaml: the pod after the patch, None when it is not mutated."""
    if outcome.decision is not Decision.MUTATE:
        return None
    after: JsonObject = jsonpatch.apply_patch(copy.deepcopy(pod), list(outcome.operations))
    return after


def rewrite(folder: Path, expected: JsonObject | None, answer: JsonObject) -> None:
    """Make the present outcome the expected one."""
    (folder / "response.yaml").write_text(dumped(answer))
    if expected is None:
        (folder / "expected.yaml").unlink(missing_ok=True)
    else:
        (folder / "expected.yaml").write_text(dumped(expected))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request: pytest.FixtureRequest) -> Path:
    """Go through all cases."""
    path: Path = request.param
    return path


def test_case(folder: Path, request: pytest.FixtureRequest) -> None:
    """A pod's response, and the pod after the patch, are those of its folder."""
    pod = read(folder / "pod.yaml")
    review, outcome = admitted(folder, pod)
    expected, answer = mutated(pod, outcome), summary(review, outcome)
    if request.config.getoption("--update-cases"):
        rewrite(folder, expected, answer)
    differences = [*difference(folder / "response.yaml", answer), *difference(folder / "expected.yaml", expected)]
    if differences:
        update = f"python -m pytest tests/test_cases.py --update-cases -k {shlex.quote(folder.name)}"
        pytest.fail("\n".join([*differences, "", f"if that is what you want: {update}"]), pytrace=False)


def difference(file: Path, found: JsonObject | None) -> Iterator[str]:
    """Compare a document with the one in a file, as a unified diff."""
    expected = read(file)
    if expected != found:
        before, after = ([] if value is None else dumped(value).splitlines() for value in (expected, found))
        name = str(file.relative_to(CASES.parent.parent))
        yield from difflib.unified_diff(before, after, f"{name} (expected)", "found", lineterm="")


@pytest.mark.parametrize("annotation", sorted(names.POD_ANNOTATIONS | names.ACCOUNT_ANNOTATIONS))
def test_annotation(annotation: str) -> None:
    """Every annotation is in a golden case and on the page of annotations."""
    recipe = 'the recipe "A new annotation" in CONTRIBUTING.md says what to add'
    files = ("pod.yaml", "serviceaccount.yaml")
    cases = [text for folder in FOLDERS for name in files if (text := contents(folder / name)) and annotation in text]
    assert cases, f"{annotation} is in no golden case: {recipe}"
    page = (CASES.parent.parent / "docs" / "reference" / "annotations.md").read_text()
    assert annotation.removeprefix(names.PREFIX) in page, (
        f"{annotation} is not in docs/reference/annotations.md: {recipe}"
    )


def contents(file: Path) -> str:
    """Read a text, empty where there is no file."""
    return file.read_text() if file.exists() else ""


def test_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What differs is shown as a unified diff, and what agrees is not."""
    monkeypatch.setitem(globals(), "CASES", tmp_path / "tests" / "cases")
    file = tmp_path / "expected.yaml"
    file.write_text("a: 1\nb: 2\n")
    assert list(difference(file, {"a": 1, "b": 2})) == []
    assert list(difference(file, {"a": 1, "b": 3}))[-2:] == ["-b: 2", "+b: 3"]


def test_case_again(folder: Path) -> None:
    """The pod that comes out of a case goes through it once more without a change or a new warning."""
    pod = read(folder / "pod.yaml")
    _, first = admitted(folder, pod)
    if first.decision is not Decision.MUTATE:
        return
    _, again = admitted(folder, mutated(pod, first))
    assert not again.operations
    assert set(again.warnings) <= set(first.warnings)


def test_folder(folder: Path) -> None:
    """A folder has the files of a case and no others, and its pod begins with what it shows."""
    files = {path.name for path in folder.iterdir()}
    assert {"pod.yaml", "response.yaml"} <= files <= FILES
    assert (folder / "pod.yaml").read_text().startswith("# ")
