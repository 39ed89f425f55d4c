"""Label selectors, as the API server reads them.

https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

from collections.abc import Mapping
from typing import Any


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector selects an object with these labels; an empty one selects all."""
    selector = selector or {}
    wanted = selector.get("matchLabels") or {}
    expressions = selector.get("matchExpressions") or ()
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(expression, labels) for expression in expressions
    )


def missing(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> dict[str, str | None]:
    """The labels that would make an object selected; None is one to take away."""
    selector = selector or {}
    changes: dict[str, str | None] = {
        key: value for key, value in (selector.get("matchLabels") or {}).items() if labels.get(key) != value
    }
    for expression in selector.get("matchExpressions") or ():
        if _meets(expression, labels):
            continue
        adds = expression["operator"] in {"In", "Exists"}
        changes[expression["key"]] = (expression.get("values") or ["true"])[0] if adds else None
    return changes


def _meets(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
