"""The identity binding of a pod: which token it sends to which token proxy, and what uses it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission import values
from webhook.admission.policy import Policy
from webhook.admission.review import AdmissionOutcome, Decision


class UsedBy(StrEnum):
    """What sends the token to the token proxy: the injected proxy, or an SDK set up for it."""

    PROXY = "proxy"
    SDK = "sdk"


_HINTS: Final = {
    UsedBy.PROXY: "apps get tokens of it from the proxy, as a managed identity",
    UsedBy.SDK: "an app must construct WorkloadIdentityCredential with its option for the token proxy; "
    f"DefaultAzureCredential cannot use it, unless {names.INJECT_PROXY} adds the proxy",
}


@dataclass(frozen=True, slots=True)
class BindingReport:
    """The binding of one pod; `second_audience` is that of its second token, empty for none."""

    token_proxy: str
    audience: str
    second_audience: str
    used_by: UsedBy

    def document(self) -> JsonObject:
        """As machines get it."""
        return {
            "tokenProxy": self.token_proxy,
            "audience": self.audience,
            "secondAudience": self.second_audience,
            "usedBy": str(self.used_by),
        }

    def __str__(self) -> str:
        second = f", the second one is for {self.second_audience}" if self.second_audience else ""
        return f"its token is for {self.audience}, at {self.token_proxy}{second}; {_HINTS[self.used_by]}"


def report(pod: JsonObject, outcome: AdmissionOutcome, policy: Policy) -> BindingReport | None:
    """The binding that a mutated pod has, None where it asks for none or the webhook has no token proxy."""
    endpoint = policy.custom_endpoint
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    if endpoint is None or outcome.decision is not Decision.MUTATE:
        return None
    if not values.boolean(annotations.get(endpoint.annotation, "")):
        return None
    second = annotations.get(names.SECOND_AUDIENCE, policy.second_audience)
    has_proxy = values.boolean(annotations.get(names.INJECT_PROXY, "")) is True
    return BindingReport(
        endpoint.url,
        endpoint.audience,
        "" if second == endpoint.audience else second,
        UsedBy.PROXY if has_proxy else UsedBy.SDK,
    )
