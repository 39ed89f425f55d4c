"""Which engine makes a decision, and what differs from the webhook's where policies make it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azure_workload_identity.types import JsonObject
from webhook.admission.identity import Account
from webhook.admission.reasons import Reason
from webhook.admission.review import AdmissionOutcome, Decision

# Together with the pod's containers; from here on policies were seen to take the API server about a second.
LARGE: Final = 500
_ESCAPED: Final = re.compile(r"\\[xuU][0-9a-f]{2}")
_OF_API_SERVER: Final = {
    Reason.SERVICE_ACCOUNT_NOT_FOUND: "without its ServiceAccount a pod is refused by the API server's own plugin",
    Reason.MALFORMED_POD: "a malformed pod is refused by the API server's own validation",
}
_LIMITS: Final = frozenset({Reason.TOO_MANY_CONTAINERS, Reason.TOO_MANY_MOUNTS, Reason.TOO_MANY_VARIABLES})


class Engine(StrEnum):
    """What injects identities, as the chart's value `engine` names it."""

    WEBHOOK = "webhook"
    POLICY = "policy"
    BOTH = "both"


class Decider(StrEnum):
    """Who makes the decision about a pod; `none`: nothing is injected or refused."""

    WEBHOOK = "webhook"
    POLICY = "policy"
    API_SERVER = "api-server"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference from the webhook: `code` for machines, `text` for people."""

    code: str
    text: str

    def __str__(self) -> str:
        return f"{self.text} ({self.code})"


@dataclass(frozen=True, slots=True)
class EngineReport:
    """Who decides about a pod with an engine, and what differs from the webhook's decision."""

    engine: Engine
    decider: Decider
    differences: Sequence[Difference] = ()

    def document(self) -> JsonObject:
        """The report for machines."""
        differences = [{"code": difference.code, "text": difference.text} for difference in self.differences]
        return {"name": str(self.engine), "decidedBy": str(self.decider), "differences": differences}


@dataclass(frozen=True, slots=True)
class EngineContext:
    """The engine, and what it depends on beside the pod.

    `mapping_in_configmap`: the identity mapping is a ConfigMap, which policies cannot read.
    """

    engine: Engine
    mapping_in_configmap: bool = False

    def report(self, pod: JsonObject, outcome: AdmissionOutcome, account: Account | None, *, new: bool) -> EngineReport:
        """Compare the engine with the webhook for a pod; `new`: its account is created together with it."""
        decider = self._decider(outcome, account)
        if decider not in (Decider.POLICY, Decider.API_SERVER):
            return EngineReport(self.engine, decider)
        return EngineReport(self.engine, decider, tuple(self._differences(pod, outcome, new=new)))

    def _decider(self, outcome: AdmissionOutcome, account: Account | None) -> Decider:
        if outcome.decision is Decision.SKIP:
            return Decider.NONE
        if self.engine is Engine.WEBHOOK:
            return Decider.WEBHOOK
        if outcome.reason in _OF_API_SERVER:
            return Decider.API_SERVER
        if self.mapping_in_configmap and not _has_own_values(account):
            return Decider.WEBHOOK
        return Decider.POLICY

    def _differences(self, pod: JsonObject, outcome: AdmissionOutcome, *, new: bool) -> Iterator[Difference]:
        texts = [outcome.message, *(warning.text for warning in outcome.warnings)]
        if outcome.decision is Decision.REFUSE:
            yield from _refusal(outcome.reason)
        if outcome.warnings:
            yield Difference(
                "warning-prefix",
                "kubectl shows each warning after the name of the policy and its binding",
            )
        if any(map(_ESCAPED.search, texts)):
            yield Difference("not-ascii", "a value that is not ASCII is not shown in the policies' messages")
        if outcome.decision is not Decision.MUTATE:
            return
        yield from _of_spec(pod["spec"])
        if new:
            late = (
                "the webhook injects into" if self.engine is Engine.BOTH else "the guard refuses, with token-missing,"
            )
            yield Difference(
                "no-live-read",
                f"the ServiceAccount is created with the pod, and policies do not look it up: {late} a pod that is "
                "created before the API server's own watch has the ServiceAccount",
            )


def _refusal(reason: Reason) -> Iterator[Difference]:
    if reason in _OF_API_SERVER:
        yield Difference("refused-by-api-server", _OF_API_SERVER[reason])
    elif reason in _LIMITS:
        yield Difference(
            "cost-limit",
            "policies have no such limit: they inject, unless the evaluation exceeds the API server's cost limit, "
            "which refuses the pod",
        )
    else:
        yield Difference("http-status", "policies refuse with HTTP 422 (Invalid), the webhook with 400 (BadRequest)")


def _of_spec(spec: JsonObject) -> Iterator[Difference]:
    containers = [container for key in ("initContainers", "containers") for container in spec.get(key) or ()]
    mounts = [mount for container in containers for mount in container.get("volumeMounts") or ()]
    if any(".." in str(mount.get("mountPath")).split("/") for mount in mounts):
        yield Difference(
            "unresolved-path",
            "policies do not resolve .. in a mount path, so a mount that covers the token's directory is not seen",
        )
    size = len(containers) + len(mounts) + sum(len(container.get("env") or ()) for container in containers)
    if size >= LARGE:
        yield Difference(
            "evaluation-time",
            f"the pod has {size} containers, mounts and variables: policies may take the API server a second or more",
        )


def _has_own_values(account: Account | None) -> bool:
    return account is not None and all((account.client_id, account.tenant_id, account.token_expiration))
