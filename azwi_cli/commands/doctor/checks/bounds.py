"""Do LimitRanges and ResourceQuotas admit the injected proxy? The API server decides that after the webhook."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

import jsonpatch

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.doctor.findings import Code, Finding
from azwi_cli.commands.doctor.snapshot import LiveWorkload, Snapshot
from webhook.admission import values

_ANNOTATIONS: Final = {
    ("cpu", "requests"): names.PROXY_CPU_REQUEST,
    ("cpu", "limits"): names.PROXY_CPU_LIMIT,
    ("memory", "requests"): names.PROXY_MEMORY_REQUEST,
    ("memory", "limits"): names.PROXY_MEMORY_LIMIT,
}


def bounded(snapshot: Snapshot) -> Iterator[Finding]:
    """What is injected fits the bounds of its namespace."""
    for workload in snapshot.mutated():
        resources = _injected_resources(workload)
        if resources is None:
            continue
        wanted: dict[str, str] = {}
        evidence = [
            *_by_limit_ranges(_of(workload, snapshot.limit_ranges), resources, wanted),
            *_by_quotas(_of(workload, snapshot.quotas), resources, wanted),
        ]
        if evidence:
            pod = {"metadata": {"annotations": wanted}}
            yield Finding(
                Code.PROXY_OUT_OF_BOUNDS,
                workload.subject,
                "its pods ask for the proxy, whose resources its namespace does not admit: they cannot be created",
                tuple(evidence),
                snapshot.commands.merge_into_pods(workload.owner, pod),
            )


def _of(workload: LiveWorkload, objects: object) -> list[JsonObject]:
    found = objects if isinstance(objects, list | tuple) else ()
    return [item for item in found if item["metadata"]["namespace"] == workload.namespace]


def _injected_resources(workload: LiveWorkload) -> Mapping[str, Mapping[str, str]] | None:
    """Requests and limits of the proxy, None where none is injected."""
    after = jsonpatch.apply_patch(workload.pod, workload.outcome.operations)["spec"]
    containers = [*(after.get("initContainers") or ()), *(after.get("containers") or ())]
    proxy = next((container for container in containers if container["name"] == names.PROXY_CONTAINER), None)
    before = [
        container["name"]
        for group in ("initContainers", "containers")
        for container in workload.pod["spec"].get(group) or ()
    ]
    return None if proxy is None or names.PROXY_CONTAINER in before else proxy.get("resources") or {}


def _by_limit_ranges(
    ranges: list[JsonObject], resources: Mapping[str, Mapping[str, str]], wanted: dict[str, str]
) -> Iterator[str]:
    """What a LimitRange for containers refuses; the annotations that would satisfy it are added to `wanted`."""
    for found in ranges:
        for item in found["spec"].get("limits") or ():
            if item.get("type") != "Container":
                continue
            for resource in ("cpu", "memory"):
                for text in _violations(item, resource, resources, wanted):
                    yield f"LimitRange {found['metadata']['name']}: {text}"


def _violations(
    item: JsonObject, resource: str, resources: Mapping[str, Mapping[str, str]], wanted: dict[str, str]
) -> Iterator[str]:
    for kind in ("requests", "limits"):
        text = wanted.get(_ANNOTATIONS[resource, kind]) or (resources.get(kind) or {}).get(resource, "")
        least, most = (item.get("min") or {}).get(resource), (item.get("max") or {}).get(resource)
        if least and text and _amount(text) < _amount(least):
            yield f"{resource} {kind} {text} is less than the minimum {least}"
            wanted[_ANNOTATIONS[resource, kind]] = least
        if most and text and _amount(text) > _amount(most):
            yield f"{resource} {kind} {text} is more than the maximum {most}"
            wanted[_ANNOTATIONS[resource, kind]] = most
    yield from _ratio(item, resource, resources, wanted)


def _ratio(
    item: JsonObject, resource: str, resources: Mapping[str, Mapping[str, str]], wanted: dict[str, str]
) -> Iterator[str]:
    """A limit that is too many times the request; equal ones satisfy every ratio."""
    most = (item.get("maxLimitRequestRatio") or {}).get(resource)
    pair = [
        wanted.get(_ANNOTATIONS[resource, kind]) or (resources.get(kind) or {}).get(resource, "")
        for kind in ("requests", "limits")
    ]
    if most and all(pair) and _amount(pair[1]) > _amount(most) * _amount(pair[0]):
        yield f"{resource} limit {pair[1]} is more than {most} times the request {pair[0]}"
        wanted[_ANNOTATIONS[resource, "requests"]] = pair[1]


def _by_quotas(
    quotas: list[JsonObject], resources: Mapping[str, Mapping[str, str]], wanted: dict[str, str]
) -> Iterator[str]:
    """A quota of limits or requests admits only containers that set them."""
    for found in quotas:
        hard = found["spec"].get("hard") or {}
        for (resource, kind), annotation in _ANNOTATIONS.items():
            counted = {f"{kind}.{resource}", resource} if kind == "requests" else {f"{kind}.{resource}"}
            if counted & hard.keys() and not (resources.get(kind) or {}).get(resource) and annotation not in wanted:
                yield f"ResourceQuota {found['metadata']['name']}: {resource} {kind} must be set"
                wanted[annotation] = _DEFAULTS[resource, kind]


_DEFAULTS: Final = {
    ("cpu", "requests"): "10m",
    ("cpu", "limits"): "500m",
    ("memory", "requests"): "32Mi",
    ("memory", "limits"): "64Mi",
}


def _amount(text: str) -> Decimal:
    return values.quantity(str(text)) or Decimal(0)
