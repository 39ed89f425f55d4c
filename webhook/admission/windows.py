"""Whether a pod runs on Windows, wherever its spec says so."""

from collections.abc import Mapping
from typing import Final

from azure_workload_identity.types import JsonObject
from webhook.admission.pod import Pod

WINDOWS: Final = "windows"
# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-os; the second is the former key.
OS_LABELS: Final = frozenset({"kubernetes.io/os", "beta.kubernetes.io/os"})


def is_windows(pod: Pod) -> bool:
    """Whether the pod can only run on Windows: by `os`, node selector, required node affinity or windowsOptions.

    A field of a wrong type says nothing: the API server refuses it itself.
    """
    spec = pod.spec
    return (
        _map(spec.get("os")).get("name") == WINDOWS
        or _selects_windows(_map(spec.get("nodeSelector")))
        or _requires_windows(spec)
        or any(map(_has_windows_options, (spec, *pod.init_containers, *pod.containers)))
    )


def _selects_windows(selector: Mapping[str, object]) -> bool:
    return any(selector.get(label) == WINDOWS for label in OS_LABELS) if selector else False


def _has_windows_options(parent: JsonObject) -> bool:
    context = parent.get("securityContext")
    return isinstance(context, dict) and bool(context.get("windowsOptions"))


def _requires_windows(spec: JsonObject) -> bool:
    """Whether required node affinity leaves only Windows: one of its terms must match, so all must ask for it."""
    affinity = _map(_map(spec.get("affinity")).get("nodeAffinity"))
    if not affinity:
        return False
    required = _map(affinity.get("requiredDuringSchedulingIgnoredDuringExecution"))
    terms = _list(required.get("nodeSelectorTerms"))
    return bool(terms) and all(
        any(_is_windows_expression(_map(expression)) for expression in _list(_map(term).get("matchExpressions")))
        for term in terms
    )


def _is_windows_expression(expression: Mapping[str, object]) -> bool:
    key = expression.get("key")
    return (
        isinstance(key, str)
        and key in OS_LABELS
        and expression.get("operator") == "In"
        and expression.get("values") == [WINDOWS]
    )


def _map(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
