"""Are the policies by which the API server injects identities whole, and the only ones?"""

from collections.abc import Iterator
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.checks.check import Check, Group
from azwi_cli.commands.doctor.checks.webhook import CHART
from azwi_cli.commands.doctor.engine import GROUP, LEFT_BY_POLICY, PolicyEngine
from azwi_cli.commands.doctor.findings import Area, Code, Finding
from azwi_cli.commands.doctor.fixes import release
from azwi_cli.commands.doctor.snapshot import Installation, Snapshot

_NONE: Final = PolicyEngine()
NEEDED: Final = "Kubernetes 1.36; 1.35 has it switched off"


def served(snapshot: Snapshot) -> Iterator[Finding]:
    """The API server has the kind of policy that injects."""
    engine = snapshot.engine or _NONE
    if engine.served or not engine.policies:
        return
    first = engine.policies[0]
    yield Finding(
        Code.POLICIES_NOT_SERVED,
        _subject(first),
        "policies are installed that refuse and warn, and the API server has no MutatingAdmissionPolicy: none injects",
        (f"{GROUP} has no mutatingadmissionpolicies: they need {NEEDED}",),
        snapshot.commands.upgrade(first, CHART, "engine=webhook") or _removal(snapshot, engine, first),
    )


def bound(snapshot: Snapshot) -> Iterator[Finding]:
    """Each policy has a binding, and each binding its policy."""
    engine = snapshot.engine or _NONE
    for policy in engine.policies:
        if engine.bindings_of(policy):
            continue
        binding = _binding(engine, policy)
        yield Finding(
            Code.POLICY_NOT_BOUND,
            _subject(policy),
            "the policy has no binding, so it has no effect",
            (f"no {policy['kind']}Binding has policyName {policy['metadata']['name']}",),
            snapshot.commands.upgrade(policy, CHART) or snapshot.commands.apply(binding),
        )
    known = {(f"{policy['kind']}Binding", policy["metadata"]["name"]) for policy in engine.policies}
    for binding in engine.bindings:
        name = binding["spec"].get("policyName")
        if (binding["kind"], name) not in known:
            yield Finding(
                Code.POLICY_MISSING,
                _subject(binding),
                "it binds a policy that does not exist",
                (f"policyName {name}",),
                snapshot.commands.upgrade(binding, CHART) or snapshot.commands.kubectl("delete", _resource(binding)),
            )


def alone(snapshot: Snapshot) -> Iterator[Finding]:
    """No pod is injected by two sets of policies, or by policies and a webhook that does not leave pods to them."""
    engine = snapshot.engine or _NONE
    policies = sorted(engine.bound(), key=_created)
    if not policies:
        return
    if len(policies) > 1:
        yield Finding(
            Code.SEVERAL_POLICIES,
            ", ".join(map(_subject, policies)),
            f"{len(policies)} policies inject identities: pods may get different tenants and tokens",
            tuple(f"{policy['metadata']['name']}: created {_created(policy)}" for policy in policies),
            _removal(snapshot, engine, policies[0]),
        )
    for installation in snapshot.installations or ():
        if not any(map(_leaves_pods, installation.webhooks)):
            yield _leftover(snapshot, engine, policies[-1], installation)


def _leftover(snapshot: Snapshot, engine: PolicyEngine, policy: JsonObject, installation: Installation) -> Finding:
    """The older of the two engines is what a migration has left."""
    webhook_is_older = _created(installation.configuration) <= _created(policy)
    return Finding(
        Code.ENGINE_LEFTOVER,
        installation.subject if webhook_is_older else _subject(policy),
        "a webhook and policies are installed that do not know of each other: both handle the same pods",
        (
            f"{installation.name}: created {_created(installation.configuration)}, no condition {LEFT_BY_POLICY}",
            f"{policy['metadata']['name']}: created {_created(policy)}",
        ),
        snapshot.commands.uninstall(installation.configuration)
        if webhook_is_older
        else _removal(snapshot, engine, policy),
    )


def _leaves_pods(webhook: JsonObject) -> bool:
    return any(condition.get("name") == LEFT_BY_POLICY for condition in webhook.get("matchConditions") or ())


def guarded(snapshot: Snapshot) -> Iterator[Finding]:
    """Where an error of the policy that injects is ignored, something else refuses the pod."""
    engine = snapshot.engine or _NONE
    if any(_leaves_pods(webhook) for found in snapshot.installations or () for webhook in found.webhooks):
        return
    for policy in engine.bound():
        if policy["spec"].get("failurePolicy") != "Ignore" or _has_guard(engine, policy):
            continue
        name = policy["metadata"]["name"]
        patch = {"op": "replace", "path": "/spec/failurePolicy", "value": "Fail"}
        yield Finding(
            Code.GUARD_OFF,
            _subject(policy),
            "a pod for which the policy cannot be evaluated is admitted without its token, and no guard refuses it",
            ("failurePolicy Ignore, and no guard with the action Deny",),
            snapshot.commands.upgrade(policy, CHART, "policy.failurePolicy=Fail")
            or snapshot.commands.patch("mutatingadmissionpolicy", name, [patch]),
        )


def _has_guard(engine: PolicyEngine, policy: JsonObject) -> bool:
    return any(
        found["kind"] == "ValidatingAdmissionPolicyBinding"
        and str(found["spec"].get("policyName")).endswith("-guard")
        and "Deny" in (found["spec"].get("validationActions") or ())
        for found in engine.companions(policy)
    )


def _binding(engine: PolicyEngine, policy: JsonObject) -> JsonObject:
    """A binding as those of its companions are, else one for labelled pods."""
    name, validating = str(policy["metadata"]["name"]), policy["kind"].startswith("Validating")
    own = [found["spec"] for found in engine.companions(policy) if found["kind"].endswith("Binding")]
    selector = {"objectSelector": {"matchLabels": {names.USE_LABEL: "true"}}}
    spec = {"policyName": name, "matchResources": own[0].get("matchResources") if own else selector}
    if policy["spec"].get("paramKind"):
        by_params = (found["paramRef"] for found in own if found.get("paramRef"))
        spec["paramRef"] = next(by_params, {"selector": {}, "parameterNotFoundAction": "Allow"})
    if validating:
        spec["validationActions"] = ["Warn" if name.endswith("-warn") else "Deny"]
    kind = f"{policy['kind']}Binding"
    return {"apiVersion": policy["apiVersion"], "kind": kind, "metadata": {"name": f"{name}-pod-label"}, "spec": spec}


def _removal(snapshot: Snapshot, engine: PolicyEngine, policy: JsonObject) -> str:
    name, namespace = release(policy)
    if name and namespace:
        return snapshot.commands.helm("uninstall", name, "--namespace", namespace)
    return snapshot.commands.kubectl("delete", *map(_resource, engine.companions(policy)))


def _resource(manifest: JsonObject) -> str:
    return f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"


def _subject(manifest: JsonObject) -> str:
    return f"{manifest['kind']} {manifest['metadata']['name']}"


def _created(manifest: JsonObject) -> str:
    return str(manifest["metadata"].get("creationTimestamp", ""))


_ENGINE: Final = frozenset({Area.ENGINE})
CHECKS: Final = (
    Check(Group.WEBHOOK, "the API server has the policies that are installed", served, _ENGINE),
    Check(Group.WEBHOOK, "each admission policy has a binding", bound, _ENGINE),
    Check(Group.WEBHOOK, "one engine injects into a pod", alone, _ENGINE, frozenset({Area.WEBHOOKS})),
    Check(
        Group.WEBHOOK, "a policy that fails admits no pod without a token", guarded, _ENGINE, frozenset({Area.WEBHOOKS})
    ),
)
