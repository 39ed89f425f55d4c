"""The policies and their bindings as YAML: readable, each expression with its comment."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from textwrap import indent
from typing import Final

import yaml

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.policy import OptIn, Policy
from webhook.admission.review import MAX_WARNINGS
from webhook.admission_policy import containers, identity, mutation, proxy, refusals, warnings
from webhook.admission_policy.cel import Variable, needed
from webhook.admission_policy.conditions import OWN_ACCOUNT, WITHOUT_TOKEN, usual_settings, with_settings
from webhook.admission_policy.settings import settings_variables

VARIABLES: Final[tuple[Variable, ...]] = (
    *identity.VARIABLES,
    *containers.SELECTION,
    *mutation.REQUEST,
    *proxy.REQUEST,
    *containers.LAYOUT,
    *containers.PLACEMENT,
    *mutation.VOLUMES,
    *mutation.ENVIRONMENT,
    *proxy.CONTAINERS,
    *refusals.VARIABLES,
    *warnings.VARIABLES,
)
GROUP: Final = "admissionregistration.k8s.io"
"""MutatingAdmissionPolicy is v1 from Kubernetes 1.36 on, v1beta1 in 1.35; 1.34 lacks functions of the policies."""


class Guard(StrEnum):
    """What happens to a pod that opts in by a label and ends without its token."""

    DENY = "deny"
    WARN = "warn"
    OFF = "off"


class Kind(StrEnum):
    """The policies of an installation."""

    INJECT = "inject"
    REFUSE = "refuse"
    WARN = "warn"
    GUARD = "guard"


# The policies that read the pod's ServiceAccount as their parameter.
WITH_ACCOUNT: Final = frozenset({Kind.INJECT, Kind.WARN})
NEEDS_SETTINGS: Final = frozenset({*WITH_ACCOUNT, Kind.GUARD})
GUARDED: Final = "!variables.optedIn || variables.selected.size() == 0"
GUARD_MESSAGE: Final = (
    "the pod opts in and ends without its token: the API server does not know its ServiceAccount yet, or the policy "
    "that injects it is missing; create the pod again (token-missing)"
)


@dataclass(frozen=True, slots=True)
class Installation:
    """How the policies are installed: their names, for which pods, and with which failure policy.

    `account_selector` and `namespace_selector` are LabelSelectors, `match_conditions` further conditions for pods.
    `version` is the version of MutatingAdmissionPolicy.
    """

    name: str = "azwi"
    version: str = "v1"
    failure_policy: str = "Fail"
    guard: Guard = Guard.DENY
    account_selector: Mapping[str, object] = field(default_factory=dict)
    namespace_selector: Mapping[str, object] = field(default_factory=dict)
    match_conditions: tuple[Mapping[str, str], ...] = ()


def documents(policy: Policy, installation: Installation) -> str:
    """All policies and bindings of an installation, as YAML documents."""
    return "---\n".join(_documents(policy, installation))


def _documents(policy: Policy, installation: Installation) -> Iterator[str]:
    for kind in Kind:
        if kind is Kind.GUARD and installation.guard is Guard.OFF:
            continue
        yield _policy(kind, policy, installation)
        for binding in _bindings(kind, policy, installation):
            yield _dumped(binding)


def _policy(kind: Kind, policy: Policy, installation: Installation) -> str:
    head = {
        "apiVersion": _version(kind, installation),
        "kind": _prefix(kind) + "AdmissionPolicy",
        "metadata": {"name": f"{installation.name}-{kind}"},
    }
    spec: JsonObject = {"paramKind": {"apiVersion": "v1", "kind": "ServiceAccount"}} if kind in WITH_ACCOUNT else {}
    spec["failurePolicy"] = "Ignore" if kind is Kind.WARN else installation.failure_policy
    if kind is Kind.INJECT:
        spec["reinvocationPolicy"] = "IfNeeded"
    spec["matchConstraints"] = {
        "resourceRules": [
            {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }
        ]
    }
    if kind is not Kind.INJECT:
        operator = "Exists" if kind is Kind.REFUSE else "DoesNotExist"
        spec["matchConstraints"]["objectSelector"] = {
            "matchExpressions": [{"key": names.REFUSED, "operator": operator}]
        }
    conditions = "".join(_conditions(kind, policy, installation))
    settings = "# Settings.\n" + written(settings_variables(policy)) if kind in NEEDS_SETTINGS else ""
    text = _dumped(spec) + (f"matchConditions:\n{conditions}" if conditions else "")
    return _dumped(head) + "spec:\n" + indent(f"{text}variables:\n{settings}{BODIES[kind]}", "  ")


def _conditions(kind: Kind, policy: Policy, installation: Installation) -> Iterator[str]:
    if kind in WITH_ACCOUNT:
        yield f"- name: own-account\n  expression: {_block(with_settings(OWN_ACCOUNT, usual_settings(policy)))}"
    if kind is Kind.GUARD:
        yield f"- name: without-token\n  expression: {_block(WITHOUT_TOKEN)}"
    if installation.match_conditions and kind is not Kind.REFUSE:
        yield _dumped([*installation.match_conditions])


def _bindings(kind: Kind, policy: Policy, installation: Installation) -> Iterator[JsonObject]:
    """One binding for each way to opt in. Their selectors do not overlap, so that no pod is handled twice."""
    for way, object_selector, expressions in ways(policy.opt_in):
        if kind is Kind.GUARD and way is OptIn.SERVICE_ACCOUNT:
            continue
        resources: JsonObject = {"objectSelector": object_selector}
        selector: JsonObject = dict(installation.namespace_selector)
        if expressions:
            selector["matchExpressions"] = [*expressions, *selector.get("matchExpressions", [])]
        if selector:
            resources["namespaceSelector"] = selector
        spec: JsonObject = {"policyName": f"{installation.name}-{kind}", "matchResources": resources}
        if kind in WITH_ACCOUNT:
            spec["paramRef"] = {"selector": dict(installation.account_selector), "parameterNotFoundAction": "Allow"}
        if kind is not Kind.INJECT:
            warn = kind is Kind.WARN or (kind is Kind.GUARD and installation.guard is Guard.WARN)
            spec["validationActions"] = ["Warn" if warn else "Deny"]
        yield {
            "apiVersion": _version(kind, installation),
            "kind": _prefix(kind) + "AdmissionPolicyBinding",
            "metadata": {"name": f"{installation.name}-{kind}-{way}"},
            "spec": spec,
        }


def ways(opt_in: frozenset[OptIn]) -> Iterator[tuple[OptIn, JsonObject, list[JsonObject]]]:
    """The ways to opt in, with the selector of pods and the expressions for namespaces: the webhook's own entries."""
    by_pod, by_namespace = OptIn.POD_LABEL in opt_in, OptIn.NAMESPACE_LABEL in opt_in
    decided = ["true", "false"] if by_pod else ["false"]
    unlabelled = {"matchExpressions": [{"key": names.USE_LABEL, "operator": "NotIn", "values": decided}]}
    if by_pod:
        yield OptIn.POD_LABEL, {"matchLabels": {names.USE_LABEL: "true"}}, []
    if by_namespace:
        yield OptIn.NAMESPACE_LABEL, unlabelled, [{"key": names.USE_LABEL, "operator": "In", "values": ["true"]}]
    if OptIn.SERVICE_ACCOUNT in opt_in:
        others = [{"key": names.USE_LABEL, "operator": "NotIn", "values": ["true"]}] if by_namespace else []
        yield OptIn.SERVICE_ACCOUNT, unlabelled, others


def _version(kind: Kind, installation: Installation) -> str:
    return f"{GROUP}/{installation.version if kind is Kind.INJECT else 'v1'}"


def _prefix(kind: Kind) -> str:
    return "Mutating" if kind is Kind.INJECT else "Validating"


def _dumped(value: object) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=1000)
    return text


def written(variables: Iterable[Variable]) -> str:
    """Variables as YAML with their comments."""
    return "".join(
        f"# {variable.comment}\n- name: {variable.name}\n  expression: {_block(variable.expression)}"
        for variable in variables
    )


def _block(expression: str) -> str:
    return "|-\n" + indent(expression, "    ") + "\n"


def _body(*expressions: str, tail: str) -> str:
    """The variables that expressions need, and what follows them."""
    return written(needed(VARIABLES, *expressions)) + tail


def _warnings() -> Iterator[str]:
    """One validation for each warning: the API server shows one message of each."""
    for number in range(MAX_WARNINGS):
        yield (
            f"- expression: variables.warnings.size() <= {number}\n  messageExpression: variables.warnings[{number}]\n"
        )


BODIES: Final[Mapping[Kind, str]] = {
    Kind.INJECT: _body(
        mutation.PATCH,
        tail="mutations:\n- patchType: JSONPatch\n  jsonPatch:\n"
        + indent(f"expression: {_block(mutation.PATCH)}", "    "),
    ),
    Kind.REFUSE: written([refusals.REASON])
    + "validations:\n- expression: variables.reason == ''\n  messageExpression: variables.reason\n  reason: Invalid\n",
    Kind.WARN: _body("variables.warnings", tail="validations:\n" + "".join(_warnings())),
    Kind.GUARD: _body(
        GUARDED,
        tail=f"validations:\n- expression: {_block(GUARDED)}  message: {_dumped(GUARD_MESSAGE)}".replace("...\n", "")
        + "  reason: Invalid\n",
    ),
}
