"""What the containers of a pod ask for: requests and limits as the API server counts them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Final

from azure_workload_identity.types import JsonObject
from webhook.admission import values

Amounts = Mapping[str, Decimal]

_NOTHING: Final = Decimal(0)
_BINARY_UNITS: Final = (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10))


@dataclass(frozen=True, slots=True)
class Resources:
    """Requests and limits of a container or a pod, by resource."""

    requests: Amounts
    limits: Amounts


def of_pod(pod: JsonObject, defaults: Sequence[JsonObject]) -> Resources:
    """A pod's requests and limits: of its containers and sidecars together, or of an init container that needs more."""
    spec = pod.get("spec") or {}
    total = _sum([of_container(container, defaults) for container in maps(spec, "containers")])
    sidecars = Resources({}, {})
    largest = Resources({}, {})
    for container in maps(spec, "initContainers"):
        effective = of_container(container, defaults)
        if container.get("restartPolicy") == "Always":
            total, sidecars = _sum([total, effective]), _sum([sidecars, effective])
            largest = _largest(largest, sidecars)
        else:
            largest = _largest(largest, _sum([effective, sidecars]))
    total = _largest(total, largest)
    overhead = amounts(spec.get("overhead"))
    return replace(total, requests=_added(total.requests, overhead)) if overhead else total


def of_container(container: JsonObject, defaults: Sequence[JsonObject]) -> Resources:
    """A container's requests and limits after the defaults: a limit is its request's, then those of LimitRanges."""
    resources = container.get("resources") or {}
    limits = {**amounts(resources.get("limits"))}
    requests = {**limits, **amounts(resources.get("requests"))}
    for item in defaults:
        limit = {**amounts(item.get("max")), **amounts(item.get("default"))}
        request = {**amounts(item.get("min")), **limit, **amounts(item.get("defaultRequest"))}
        limits = {**limit, **limits}
        requests = {**request, **requests}
    return Resources(requests, limits)


def _sum(several: Sequence[Resources]) -> Resources:
    total = Resources({}, {})
    for resources in several:
        total = Resources(_added(total.requests, resources.requests), _added(total.limits, resources.limits))
    return total


def _largest(one: Resources, other: Resources) -> Resources:
    return Resources(_maximum(one.requests, other.requests), _maximum(one.limits, other.limits))


def _maximum(one: Amounts, other: Amounts) -> Amounts:
    return {key: max(one.get(key, _NOTHING), other.get(key, _NOTHING)) for key in {*one, *other}}


def _added(one: Amounts, other: Amounts) -> Amounts:
    return {key: one.get(key, _NOTHING) + other.get(key, _NOTHING) for key in {*one, *other}}


def maps(parent: JsonObject, key: str) -> list[JsonObject]:
    """The maps of the list at `key`."""
    entries = parent.get(key)
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def amounts(written: object) -> dict[str, Decimal]:
    """Quantities by resource, without those that are not."""
    if not isinstance(written, dict):
        return {}
    return {key: amount for key, text in written.items() if (amount := values.quantity(str(text))) is not None}


def rounded_up(resource: str, amount: Decimal) -> Decimal:
    """The amount in whole millicores or mebibytes."""
    step = Decimal(2**20) if resource == "memory" else Decimal("0.001")
    return (amount / step).to_integral_value(ROUND_CEILING) * step


def shown(resource: str, amount: Decimal | None) -> str:
    """A quantity as people write it; "not set" for none."""
    if amount is None:
        return "not set"
    if resource == "cpu":
        return (
            f"{amount.normalize():f}" if amount == amount.to_integral_value() else f"{(amount * 1000).normalize():f}m"
        )
    for unit, size in _BINARY_UNITS:
        if amount and amount % size == 0:
            return f"{amount / size:f}{unit}"
    return f"{amount.normalize():f}"
