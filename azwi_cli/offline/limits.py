"""Whether a namespace's LimitRanges, ResourceQuotas and Pod Security allow a pod with what is injected into it.

The API server applies them after the webhook, and its refusal names neither the webhook nor the annotation that helps.
Rules: https://kubernetes.io/docs/concepts/policy/limit-range/ and .../resource-quotas/, as the LimitRanger and
ResourceQuota admission plugins have them. Only problems that the injected containers cause are reported.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.offline import quotas, resources
from azwi_cli.offline.limit_problem import ANNOTATIONS, LimitProblem, name_of
from azwi_cli.offline.resources import Resources

# https://kubernetes.io/docs/concepts/security/pod-security-standards/
_FORBIDDING_LEVELS: Final = frozenset({"baseline", "restricted"})
_COMPUTE: Final = ("cpu", "memory")
LIMIT_RANGE: Final = "LimitRange"


@dataclass(frozen=True, slots=True)
class NamespaceLimits:
    """The LimitRanges, ResourceQuotas and enforced Pod Security level of a namespace.

    Quotas of a cluster have their status.
    """

    limit_ranges: Sequence[JsonObject] = ()
    quotas: Sequence[JsonObject] = ()
    pod_security: str = ""

    def __bool__(self) -> bool:
        return bool(self.limit_ranges or self.quotas or self.pod_security)


def problems(before: JsonObject, after: JsonObject, limits: NamespaceLimits) -> tuple[LimitProblem, ...]:
    """What of a namespace's LimitRanges and ResourceQuotas a pod would break, and would not without the injection.

    Args:
        before: The pod as its author wrote it.
        after: The pod with what is injected.
        limits: Those of its namespace.
    """
    items = [
        (name_of(found), number, item) for found in limits.limit_ranges for number, item in enumerate(_items(found))
    ]
    defaults = [item for *_, item in items if item.get("type") == "Container"]
    own, all_of_it = _containers(before), _containers(after)
    injected = {name: container for name, container in all_of_it.items() if name not in own}
    if not injected:
        return ()
    found = [
        problem
        for name, number, item in items
        for problem in (
            _container_problems(name, item, injected, defaults)
            if item.get("type") == "Container"
            else _pod_problems(name, number, item, [resources.of_pod(pod, defaults) for pod in (before, after)])
            if item.get("type") == "Pod"
            else ()
        )
    ]
    for quota in limits.quotas:
        found += quotas.problems(quota, before, after, injected, defaults)
    if names.PROXY_INIT_CONTAINER in injected and limits.pod_security in _FORBIDDING_LEVELS:
        text = f"level {limits.pod_security} forbids NET_ADMIN, which {names.PROXY_INIT_CONTAINER} needs"
        found.append(LimitProblem("Pod Security", "", text, ((names.PROXY_MODE, "environment"),)))
    return tuple(found)


def _container_problems(
    name: str, item: JsonObject, injected: Mapping[str, JsonObject], defaults: Sequence[JsonObject]
) -> Iterator[LimitProblem]:
    broken: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    for container_name, container in injected.items():
        asked = resources.of_container(container, defaults)
        for resource, text in _broken(item, asked):
            broken.setdefault((text, _advice(item, resource, asked)), []).append(container_name)
    for (text, advice), containers in broken.items():
        yield LimitProblem(LIMIT_RANGE, name, f"{' and '.join(containers)}: {text}", advice)


def _pod_problems(name: str, number: int, item: JsonObject, pods: Sequence[Resources]) -> Iterator[LimitProblem]:
    """What the `number`th item of a LimitRange refuses of the pod with the proxy, and not of the pod without it."""
    before, after = pods
    already = {resource for resource, _ in _broken(item, before)}
    for resource, text in _broken(item, after):
        if resource not in already:
            operations = tuple(_raised(f"/spec/limits/{number}", item, resource, after))
            yield LimitProblem(LIMIT_RANGE, name, f"the pod with the proxy: {text}", operations=operations)


def _raised(path: str, item: JsonObject, resource: str, asked: Resources) -> Iterator[JsonObject]:
    """The operations (RFC 6902) after which an item has room for what is asked."""
    request, limit = asked.requests.get(resource, Decimal(0)), asked.limits.get(resource, Decimal(0))
    maximum, ratio = (resources.amounts(item.get(key)).get(resource) for key in ("max", "maxLimitRequestRatio"))
    if maximum is not None and max(request, limit) > maximum:
        most = resources.shown(resource, max(request, limit))
        yield {"op": "replace", "path": f"{path}/max/{resource}", "value": most}
    if ratio is not None and request and limit / request > ratio:
        least = str((limit / request).to_integral_value(ROUND_CEILING))
        yield {"op": "replace", "path": f"{path}/maxLimitRequestRatio/{resource}", "value": least}


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
            text = f"the {resource} limit ({shown[0]}) must be at most {most} times its request ({shown[1]})"
        if text:
            yield resource, text


def _too_low(resource: str, minimum: Decimal | None, request: Decimal | None, limit: Decimal | None) -> str:
    if minimum is not None:
        for side, amount in (("request", request or Decimal(0)), ("limit", limit)):
            if amount is not None and amount < minimum:
                least, now = resources.shown(resource, minimum), resources.shown(resource, amount)
                return f"the {resource} {side} must be at least {least} and is {now}"
    return ""


def _too_high(resource: str, maximum: Decimal | None, request: Decimal | None, limit: Decimal | None) -> str:
    if maximum is not None:
        for side, amount in (("limit", Decimal("inf") if limit is None else limit), ("request", request)):
            if amount is not None and amount > maximum:
                most = resources.shown(resource, maximum)
                now = resources.shown(resource, amount if amount.is_finite() else None)
                return f"the {resource} {side} must be at most {most} and is {now}"
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
        (ANNOTATIONS[resource, which], resources.shown(resource, amount))
        for which, amount, now in changed
        if amount is not None and amount != now.get(resource)
    )


def _containers(pod: JsonObject) -> dict[str, JsonObject]:
    spec = pod.get("spec") or {}
    return {
        str(container.get("name")): container
        for key in ("initContainers", "containers")
        for container in resources.maps(spec, key)
    }


def _items(limit_range: JsonObject) -> list[JsonObject]:
    return resources.maps(limit_range.get("spec") or {}, "limits")
