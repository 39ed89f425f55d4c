"""Whether a namespace's LimitRanges and ResourceQuotas allow a pod with what is injected into it.

The API server applies them after the webhook, and its refusal names neither the webhook nor the annotation that helps.
Rules: https://kubernetes.io/docs/concepts/policy/limit-range/ and .../resource-quotas/, as the LimitRanger and
ResourceQuota admission plugins have them. Only problems that the injected containers cause are reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.offline import resources
from azwi_cli.offline.resources import Amounts, Resources

# What a pod's annotation can set of the proxy's resources.
_ANNOTATIONS: Final = {
    ("cpu", "request"): names.PROXY_CPU_REQUEST,
    ("cpu", "limit"): names.PROXY_CPU_LIMIT,
    ("memory", "request"): names.PROXY_MEMORY_REQUEST,
    ("memory", "limit"): names.PROXY_MEMORY_LIMIT,
}
_COMPUTE: Final = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class LimitProblem:
    """Why the API server would refuse the pod; `annotations` on the pod help, where there are any."""

    source: str
    text: str
    annotations: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        advice = " and ".join(f'{name}: "{value}"' for name, value in self.annotations)
        return f"{self.source} would refuse the pod: {self.text}" + (
            f"; annotate the pod with {advice}" if advice else ""
        )


@dataclass(frozen=True, slots=True)
class NamespaceLimits:
    """The LimitRanges and ResourceQuotas of a namespace; quotas of a cluster have their status."""

    limit_ranges: Sequence[JsonObject] = ()
    quotas: Sequence[JsonObject] = ()


def problems(before: JsonObject, after: JsonObject, limits: NamespaceLimits) -> tuple[LimitProblem, ...]:
    """What of a namespace's LimitRanges and ResourceQuotas a pod would break, and would not without the injection.

    Args:
        before: The pod as its author wrote it.
        after: The pod with what is injected.
        limits: Those of its namespace.
    """
    items = [(_source("LimitRange", found), item) for found in limits.limit_ranges for item in _items(found)]
    defaults = [item for _, item in items if item.get("type") == "Container"]
    own, all_of_it = _containers(before), _containers(after)
    injected = {name: container for name, container in all_of_it.items() if name not in own}
    if not injected:
        return ()
    found = [
        problem
        for source, item in items
        for problem in (
            _container_problems(source, item, injected, defaults)
            if item.get("type") == "Container"
            else _pod_problems(source, item, resources.of_pod(before, defaults), resources.of_pod(after, defaults))
            if item.get("type") == "Pod"
            else ()
        )
    ]
    for quota in limits.quotas:
        if _in_scope(quota, after, resources.of_pod(after, defaults)):
            found += _quota_problems(quota, before, after, injected, defaults)
    return tuple(found)


def _container_problems(
    source: str, item: JsonObject, injected: Mapping[str, JsonObject], defaults: Sequence[JsonObject]
) -> Iterator[LimitProblem]:
    broken: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for name, container in injected.items():
        asked = resources.of_container(container, defaults)
        for resource, text in _broken(item, asked):
            broken.setdefault((text, _advice(item, resource, asked)), []).append(name)
    for (text, advice), containers in broken.items():
        yield LimitProblem(source, f"container {' and '.join(containers)}: {text}", advice)


def _pod_problems(source: str, item: JsonObject, before: Resources, after: Resources) -> Iterator[LimitProblem]:
    already = {resource for resource, _ in _broken(item, before)}
    for resource, text in _broken(item, after):
        if resource not in already:
            yield LimitProblem(source, f"the pod with the proxy: {text}")


def _broken(item: JsonObject, asked: Resources) -> Iterator[tuple[str, str]]:
    """The resources whose bounds are not kept, each with a sentence."""
    minimum, maximum, ratio = (resources.amounts(item.get(key)) for key in ("min", "max", "maxLimitRequestRatio"))
    for resource in sorted(minimum.keys() | maximum.keys() | ratio.keys()):
        request, limit = asked.requests.get(resource), asked.limits.get(resource)
        text = _too_low(resource, minimum.get(resource), request, limit)
        text = text or _too_high(resource, maximum.get(resource), request, limit)
        most = ratio.get(resource)
        if not text and most is not None and (not request or not limit or limit / request > most):
            shown = [resources.shown(resource, amount) for amount in (limit, request)]
            text = f"its {resource} limit ({shown[0]}) must be at most {most} times its request ({shown[1]})"
        if text:
            yield resource, text


def _too_low(resource: str, minimum: Decimal | None, request: Decimal | None, limit: Decimal | None) -> str:
    if minimum is not None:
        for side, amount in (("request", request or Decimal(0)), ("limit", limit)):
            if amount is not None and amount < minimum:
                least, now = resources.shown(resource, minimum), resources.shown(resource, amount)
                return f"its {resource} {side} must be at least {least} and is {now}"
    return ""


def _too_high(resource: str, maximum: Decimal | None, request: Decimal | None, limit: Decimal | None) -> str:
    if maximum is not None:
        for side, amount in (("limit", Decimal("inf") if limit is None else limit), ("request", request)):
            if amount is not None and amount > maximum:
                most = resources.shown(resource, maximum)
                now = resources.shown(resource, amount if amount.is_finite() else None)
                return f"its {resource} {side} must be at most {most} and is {now}"
    return ""


def _advice(item: JsonObject, resource: str, asked: Resources) -> tuple[tuple[str, str], ...]:
    """The annotations with which the proxy's request and limit keep all bounds of a LimitRange's item, if any do."""
    if resource not in _COMPUTE:
        return ()
    minimum, maximum, ratio = (
        resources.amounts(item.get(key)).get(resource) for key in ("min", "max", "maxLimitRequestRatio")
    )
    request, limit = asked.requests.get(resource) or Decimal(0), asked.limits.get(resource)
    if minimum is not None:
        request, limit = max(request, minimum), max(limit, minimum) if limit is not None else None
    if maximum is not None:
        limit = min(limit, maximum) if limit is not None else maximum
        request = min(request, maximum)
    if ratio and limit is None:
        limit = request
    if limit is not None:
        limit = max(limit, request)
        if ratio and limit > request * ratio:
            request = resources.rounded_up(resource, limit / ratio)
    changed = (("request", request, asked.requests), ("limit", limit, asked.limits))
    return tuple(
        (_ANNOTATIONS[resource, which], resources.shown(resource, amount))
        for which, amount, now in changed
        if amount is not None and amount != now.get(resource)
    )


def _quota_problems(
    quota: JsonObject,
    before: JsonObject,
    after: JsonObject,
    injected: Mapping[str, JsonObject],
    defaults: Sequence[JsonObject],
) -> Iterator[LimitProblem]:
    source = _source("ResourceQuota", quota)
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
        missing = [name for name, asked in effective.items() if resource not in _side(asked, side)]
        if missing:
            text = f"container {missing[0]} has no {resource} {side}, and this quota asks for one"
            yield LimitProblem(
                source, text, ((_ANNOTATIONS[resource, side], "64Mi" if resource == "memory" else "100m"),)
            )
            continue
        without, with_proxy = (_side(pod, side).get(resource, Decimal(0)) for pod in pods)
        left = most - used.get(key, Decimal(0))
        if without <= left < with_proxy:
            yield LimitProblem(
                source,
                f"with the proxy the pod's {resource} {side} is {resources.shown(resource, with_proxy)}, and "
                f"{resources.shown(resource, left)} of {key} is left; raise the quota or lower "
                f"{_ANNOTATIONS[resource, side]}",
            )


def _side(asked: Resources, side: str) -> Amounts:
    return asked.limits if side == "limit" else asked.requests


def _in_scope(quota: JsonObject, pod: JsonObject, asked: Resources) -> bool:
    """Whether a ResourceQuota counts a pod; a scope that is not known here counts none."""
    spec, pod_spec = quota.get("spec") or {}, pod.get("spec") or {}
    expressions = [{"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or ()]
    expressions += (spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    best_effort = not any(asked.requests.values()) and not any(asked.limits.values())
    terminating = pod_spec.get("activeDeadlineSeconds") is not None
    by_name = {
        "BestEffort": best_effort,
        "NotBestEffort": not best_effort,
        "Terminating": terminating,
        "NotTerminating": not terminating,
    }
    priority = pod_spec.get("priorityClassName") or ""
    for expression in expressions:
        scope, operator, chosen = (
            expression.get("scopeName"),
            expression.get("operator"),
            expression.get("values") or (),
        )
        if scope == "PriorityClass":
            matches = {
                "In": priority in chosen,
                "NotIn": priority not in chosen,
                "Exists": bool(priority),
                "DoesNotExist": not priority,
            }.get(str(operator), False)
        else:
            matches = by_name.get(str(scope), False)
        if not matches:
            return False
    return True


def _containers(pod: JsonObject) -> dict[str, JsonObject]:
    spec = pod.get("spec") or {}
    return {
        str(container.get("name")): container
        for key in ("initContainers", "containers")
        for container in resources.maps(spec, key)
    }


def _items(limit_range: JsonObject) -> list[JsonObject]:
    return resources.maps(limit_range.get("spec") or {}, "limits")


def _source(kind: str, found: JsonObject) -> str:
    return f"{kind} {(found.get('metadata') or {}).get('name', '')}"
