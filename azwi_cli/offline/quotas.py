"""Whether a ResourceQuota has room for a pod with the injected proxy.

Rules: https://kubernetes.io/docs/concepts/policy/resource-quotas/
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from azure_workload_identity.types import JsonObject
from azwi_cli.offline import resources
from azwi_cli.offline.limit_problem import ANNOTATIONS, LimitProblem, name_of
from azwi_cli.offline.resources import Amounts, Resources

_COMPUTE: Final = ("cpu", "memory")


def problems(
    quota: JsonObject,
    before: JsonObject,
    after: JsonObject,
    injected: Mapping[str, JsonObject],
    defaults: Sequence[JsonObject],
) -> Iterator[LimitProblem]:
    """What of a ResourceQuota a pod would break, and would not without the containers `injected`.

    `defaults` are the items of LimitRanges for containers.
    """
    if not _counts(quota, after, resources.of_pod(after, defaults)):
        return
    kind, name = "ResourceQuota", name_of(quota)
    status = quota.get("status") or {}
    hard = resources.amounts(status.get("hard") or (quota.get("spec") or {}).get("hard"))
    used = resources.amounts(status.get("used"))
    effective = {name: resources.of_container(container, defaults) for name, container in injected.items()}
    pods = resources.of_pod(before, defaults), resources.of_pod(after, defaults)
    for key, most in hard.items():
        which, _, resource = key.rpartition(".")
        if resource not in _COMPUTE or which not in {"", "requests", "limits"}:
            continue
        side = "limit" if which == "limits" else "request"
        missing = [container for container, asked in effective.items() if resource not in _side(asked, side)]
        if missing:
            text = f"{missing[0]} has no {resource} {side}, which this quota requires"
            annotation = (ANNOTATIONS[resource, side], "64Mi" if resource == "memory" else "100m")
            yield LimitProblem(kind, name, text, (annotation,))
            continue
        without, with_proxy = (_side(pod, side).get(resource, Decimal(0)) for pod in pods)
        taken = used.get(key, Decimal(0))
        left = most - taken
        if without <= left < with_proxy:
            enough = resources.shown(resource, taken + with_proxy)
            yield LimitProblem(
                kind,
                name,
                f"with the proxy the pod's {resource} {side} is {resources.shown(resource, with_proxy)}, and "
                f"{resources.shown(resource, left)} of {key} is left; raise the quota or lower "
                f"{ANNOTATIONS[resource, side]}",
                operations=({"op": "replace", "path": f"/spec/hard/{key}", "value": enough},),
            )


def _side(asked: Resources, side: str) -> Amounts:
    return asked.limits if side == "limit" else asked.requests


def _counts(quota: JsonObject, pod: JsonObject, asked: Resources) -> bool:
    """Whether a ResourceQuota counts a pod; with a scope that is not known here it counts none."""
    spec, pod_spec = quota.get("spec") or {}, pod.get("spec") or {}
    expressions = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    expressions += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    best_effort = not any(asked.requests.values()) and not any(asked.limits.values())
    terminating = pod_spec.get("activeDeadlineSeconds") is not None
    scopes = {
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
        "Terminating": terminating,
        "NotTerminating": not terminating,
    }
    priority = pod_spec.get("priorityClassName") or ""
    return all(
        _has_priority(expression, priority)
        if expression.get("scopeName") == "PriorityClass"
        else scopes.get(str(expression.get("scopeName")), False)
        for expression in expressions
    )


def _has_priority(expression: JsonObject, priority: str) -> bool:
    chosen = expression.get("values") or ()
    by_operator = {
        "In": priority in chosen,
        "NotIn": priority not in chosen,
        "Exists": bool(priority),
        "DoesNotExist": not priority,
    }
    return by_operator.get(str(expression.get("operator")), False)
