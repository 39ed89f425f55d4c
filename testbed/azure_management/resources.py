"""What the resource providers share: bodies, long-running writes, subscriptions."""

import re
from collections.abc import Callable
from uuid import uuid4

from azure_workload_identity.types import JsonObject
from testbed.azure_management.state import Azure
from testbed.azure_management.wire import Answer, Refusal, Request

Operation = Callable[[Azure, Request, re.Match[str]], Answer]


def properties_of(request: Request, required: str, optional: str = "", beside: str = "") -> JsonObject:
    """Return the properties of a body, which must be as the API has it."""
    body = request.body
    if not isinstance(body, dict) or set(body) - {"properties", *beside.split()}:
        raise Refusal(400, "InvalidRequestContent", "The request content was invalid and could not be deserialized.")
    properties: JsonObject = body.get("properties", {})
    if unknown := set(properties) - {*required.split(), *optional.split()}:
        raise Refusal(400, "InvalidRequestContent", f"Could not find members {sorted(unknown)} on object.")
    if missing := [name for name in required.split() if not properties.get(name)]:
        raise Refusal(400, "BadRequest", f"The properties {missing} are required.")
    return properties


def written(azure: Azure, status: int, body: JsonObject) -> Answer:
    """Answer a write, at once or with a long-running operation."""
    if not azure.faults.asynchronous:
        return Answer(status, body)
    headers = {"Azure-AsyncOperation": f"{azure.arm}/operations/{uuid4()}?api-version=2022-12-01", "Retry-After": "0"}
    return Answer(202 if status == 204 else status, body or None, headers)


def check_subscription(azure: Azure, match: re.Match[str]) -> None:
    """Refuse a subscription that is not this one."""
    if match["subscription"].lower() != azure.subscription:
        wanted = match["subscription"]
        raise Refusal(404, "SubscriptionNotFound", f"The subscription '{wanted}' could not be found.")
