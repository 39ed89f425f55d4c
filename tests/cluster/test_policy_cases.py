"""The golden cases by the policy engine: the API server itself does what the webhook does.

Both answers go through one API server: the pod that the policies make, and the pod with the webhook's patch, sent to a
namespace in which no policy is. Nothing is stored.
"""

import copy
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import jsonpatch
import pytest
import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.cluster.control_plane import ControlPlane
from testbed.cluster.server import wait_until_true
from tests.test_cases import CASES, FOLDERS, Given, admitted, given_by, read
from webhook.admission.policy import OptIn, Policy
from webhook.admission.review import Decision
from webhook.admission_policy.conditions import OWN_ACCOUNT, usual_settings, with_settings
from webhook.admission_policy.manifests import Installation, documents, ways
from webhook.admission_policy.settings import as_json, settings_variables

SETUP: Final = "setup"
PROGRAM: Final = "azure-workload-identity: "
TABLE: Final = CASES / "not-by-policy.yaml"
OF_POLICY: Final = re.compile(
    r".*ValidatingAdmissionPolicy '[^']+' with binding '[^']+'(?: denied request)?: ", re.DOTALL
)
OF_WARNING: Final = re.compile(r'299 - "((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Answer:
    """What the API server made of a pod: the pod or an error, and the warnings."""

    pod: JsonObject | None
    error: str = ""
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """A golden case, with the namespace in which policies of its settings apply."""

    folder: Path
    given: Given
    namespace: str
    policy: Policy

    @property
    def setup(self) -> str:
        """The name of its policies: cases of the same settings share them."""
        return "s" + hashlib.sha256(documents(self.policy, Installation()).encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Clusters:
    """The API server, and the namespaces without policies: with accounts of all names, and with none."""

    control_plane: ControlPlane
    plain: str
    bare: str

    def create(self, namespace: str, pod: object) -> Answer:
        """Create a pod in a dry run."""
        response = self.control_plane.http.request(
            "POST",
            f"{self.control_plane.url}/api/v1/namespaces/{namespace}/pods?dryRun=All",
            body=json.dumps(pod),
            headers={"Content-Type": "application/json"},
        )
        body = json.loads(response.data)
        found = OF_WARNING.findall(", ".join(response.headers.getlist("Warning")))
        # The API server's own are about where variables and ports are, which the webhook's user sees, too.
        shown = [text for text in (re.sub(r"\\(.)", r"\1", text) for text in found) if PROGRAM in text]
        if response.status >= 300:
            return Answer(None, body["message"], shown)
        return Answer(body, warnings=shown)


def case_of(folder: Path) -> Case:
    """Read a case; exact namespaces of its mapping get the name of the case's own."""
    given = given_by(folder)
    suffix = hashlib.sha256(folder.name.encode()).hexdigest()[:10]
    mapping = [
        {**entry, "namespace": f"{entry['namespace']}-{suffix}"} if not set("*?[") & set(entry["namespace"]) else entry
        for entry in given.mapping
    ]
    renamed = given.model_copy(update={"mapping": mapping})
    return Case(folder, given, f"{given.namespace}-{suffix}", renamed.policy())


def accounts_of(folder: Path) -> Iterator[JsonObject]:
    """Read the accounts of a case."""
    file = folder / "serviceaccount.yaml"
    yield from (found for found in yaml.safe_load_all(file.read_text()) if found) if file.exists() else ()


@pytest.fixture(scope="module")
def clusters(control_plane: ControlPlane) -> Iterator[Clusters]:
    """Create the namespaces, accounts and policies of all cases."""
    cases = [case_of(folder) for folder in FOLDERS]
    plain, bare = control_plane.create_namespace(), control_plane.create_namespace()
    known = {"default"}
    for case in cases:
        labels = {SETUP: case.setup} | ({names.USE_LABEL: "true"} if case.given.namespace_labelled else {})
        control_plane.create_namespace(labels, case.namespace)
        for account in accounts_of(case.folder):
            metadata = account["metadata"]
            if metadata["name"] not in known:
                known.add(metadata["name"])
                control_plane.create_service_account(plain, metadata["name"])
            if metadata.get("namespace", case.given.namespace) == case.given.namespace:
                here = {key: value for key, value in metadata.items() if key != "namespace"}
                path = f"/api/v1/namespaces/{case.namespace}/serviceaccounts"
                if metadata["name"] == "default":
                    control_plane.request("DELETE", f"{path}/default")
                control_plane.request("POST", path, {**account, "metadata": here})
    for path, manifest in manifests(cases):
        control_plane.request("POST", path, manifest)
    wanted = Clusters(control_plane, plain, bare)
    for opt_in in {case.policy.opt_in for case in cases}:
        wait_for_policies(wanted, next(case for case in cases if case.policy.opt_in == opt_in))
    yield wanted
    for path, manifest in manifests(cases):
        control_plane.request("DELETE", f"{path}/{manifest['metadata']['name']}")


def manifests(cases: list[Case]) -> Iterator[tuple[str, JsonObject]]:
    """Write the policies of all cases, with their paths.

    The API server takes a second or so to compile a policy, and between cases only the values of its settings differ.
    So there is one policy of each kind, whose settings are looked up by a label of the namespace, and in match
    conditions, which do not know of labels, by its name.
    """
    usual = {case.namespace: usual_settings(case.policy) for case in cases}
    condition = with_settings(
        OWN_ACCOUNT,
        {
            name: looked_up({namespace: found[name] for namespace, found in usual.items()})
            for name in next(iter(usual.values()))
        },
    )
    setups = {case.setup: case.policy for case in cases}
    settings = {
        name: {found.name: found.expression for found in settings_variables(policy)} for name, policy in setups.items()
    }
    for number, opt_in in enumerate(sorted({policy.opt_in for policy in setups.values()}, key=sorted)):
        policies = {name: policy for name, policy in setups.items() if policy.opt_in == opt_in}
        selector = {"matchExpressions": [{"key": SETUP, "operator": "In", "values": sorted(policies)}]}
        installation = Installation("azwi", namespace_selector=selector)
        for manifest in yaml.safe_load_all(documents(next(iter(policies.values())), installation)):
            kind, spec = manifest["kind"].lower(), manifest["spec"]
            path = f"/apis/{manifest['apiVersion']}/{kind[:-1] + 'ies' if kind.endswith('y') else kind + 's'}"
            if kind.endswith("binding"):
                manifest["metadata"]["name"] += f"-{number}"
            elif number:
                continue
            else:
                for match in spec.get("matchConditions", ()):
                    if match["name"] == "own-account":
                        match["expression"] = condition
                for variable in spec["variables"]:
                    if variable["name"] in settings[min(settings)]:
                        name = variable["name"]
                        values = ", ".join(f"'{setup}': dyn({found[name]})" for setup, found in settings.items())
                        variable["expression"] = f"{{{values}}}[namespaceObject.metadata.labels['{SETUP}']]"
            yield path, manifest


def looked_up(values: Mapping[str, str]) -> str:
    """Write an expression for a setting, given its values as JSON by namespace."""
    ((most, _),) = Counter(values.values()).most_common(1)
    others = {namespace: json.loads(value) for namespace, value in values.items() if value != most}
    return f"{as_json(others)}[?object.metadata.namespace].orValue({most})"


def wait_for_policies(clusters: Clusters, case: Case) -> None:
    """Wait until the API server applies all policies with the bindings of a case's opt-in."""
    opt_in = case.policy.opt_in
    labels = {SETUP: case.setup} | ({names.USE_LABEL: "true"} if opt_in == {OptIn.NAMESPACE_LABEL} else {})
    namespace = clusters.control_plane.create_namespace(labels)
    identity = {names.CLIENT_ID: "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"}
    clusters.control_plane.create_service_account(namespace, "app", identity)
    label = {names.USE_LABEL: "true"} if OptIn.POD_LABEL in opt_in else {}

    def creates(annotations: Mapping[str, str]) -> Answer:
        metadata = {"name": "app", "labels": label, "annotations": annotations}
        spec = {"serviceAccountName": "app", "containers": [{"name": "app", "image": "registry.test/app:1"}]}
        return clusters.create(namespace, {"metadata": metadata, "spec": spec})

    def applied() -> bool:
        refused = "invalid-token-expiration" in creates({names.TOKEN_EXPIRATION: "1"}).error
        warned = creates({names.PREFIX + "unknown": ""})
        return (
            refused
            and bool(warned.warnings)
            and warned.pod is not None
            and "env" in warned.pod["spec"]["containers"][0]
        )

    wait_until_true(applied, f"the policies for {sorted(opt_in)} apply")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_case(clusters: Clusters, folder: Path) -> None:
    """A pod is by policy what it is by the webhook, or the table of exceptions has it with a reason."""
    case = case_of(folder)
    expected, found = by_webhook(clusters, case), by_policy(clusters, case)
    exceptions: Mapping[str, str] = read(TABLE) or {}
    if folder.name in exceptions:
        assert found != expected, f"{folder.name} is the same by policy: remove it from {TABLE.name}"
    else:
        assert found == expected


def by_policy(clusters: Clusters, case: Case) -> Answer:
    """The answer of the policies."""
    answer = clusters.create(case.namespace, read(case.folder / "pod.yaml"))
    return Answer(
        comparable(answer.pod),
        OF_POLICY.sub("", answer.error).replace(case.namespace, "NAMESPACE"),
        [OF_POLICY.sub("", text) for text in answer.warnings],
    )


def by_webhook(clusters: Clusters, case: Case) -> Answer:
    """The answer of the webhook to the pod as the API server sends it."""
    raw = read(case.folder / "pod.yaml")
    exists = any(
        account["metadata"]["name"] == (raw.get("spec") or {}).get("serviceAccountName", "default")
        and account["metadata"].get("namespace", case.given.namespace) == case.given.namespace
        for account in accounts_of(case.folder)
    )
    namespace = clusters.plain if exists else clusters.bare
    sent = clusters.create(namespace, raw)
    if sent.pod is None:
        return Answer(None, sent.error.replace(namespace, "NAMESPACE"), sent.warnings)
    pod = manifest_of(sent.pod)
    if not is_called(pod, case):
        return Answer(comparable(sent.pod), "", sent.warnings)
    _, outcome = admitted(case.folder, pod)
    if outcome.decision is Decision.REFUSE:
        return Answer(None, f"{outcome.message} ({outcome.reason})")
    patched = jsonpatch.apply_patch(copy.deepcopy(pod), list(outcome.operations))
    stored = clusters.create(namespace, patched)
    return Answer(
        comparable(stored.pod), stored.error, [*sent.warnings, *(str(warning) for warning in outcome.warnings)]
    )


def is_called(pod: JsonObject, case: Case) -> bool:
    """Whether the API server calls the webhook: by the selectors of its configuration's entries."""
    label = pod["metadata"].get("labels", {}).get(names.USE_LABEL)
    in_namespace = {names.USE_LABEL: "true"} if case.given.namespace_labelled else {}
    if names.MIRROR_POD in pod["metadata"].get("annotations", {}):
        return False
    return any(
        (label == "true" if "matchLabels" in selector else label not in selector["matchExpressions"][0]["values"])
        and all((in_namespace.get(rule["key"]) in rule["values"]) is (rule["operator"] == "In") for rule in expressions)
        for _, selector, expressions in ways(case.policy.opt_in)
    )


def manifest_of(stored: JsonObject) -> JsonObject:
    """A pod as a request has it: without what the API server sets after admission."""
    pod = copy.deepcopy(stored)
    for key in ("uid", "creationTimestamp", "generation", "namespace", "managedFields"):
        pod["metadata"].pop(key, None)
    pod.pop("status", None)
    return pod


def comparable(stored: JsonObject | None) -> JsonObject | None:
    """A pod without what differs by chance."""
    if stored is None:
        return None
    text = re.sub(r"kube-api-access-\w{5}", "kube-api-access", json.dumps(manifest_of(stored)))
    pod: JsonObject = json.loads(text)
    if "generateName" in pod["metadata"]:
        pod["metadata"].pop("name", None)
    return pod
