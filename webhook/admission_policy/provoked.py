"""Has the webhook's code refuse, or warn of, pods whose values are stand-ins."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from azure_workload_identity.types import JsonObject
from webhook.admission.decision import Skip, decide
from webhook.admission.identity import Account, Defaults
from webhook.admission.mutation import mutate
from webhook.admission.pod import Pod
from webhook.admission.policy import CustomEndpoint, OptIn, Policy, ProxySettings
from webhook.admission.reasons import AdmissionWarning

CLIENT_ID: Final = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
ACCOUNT: Final = Account(client_id=CLIENT_ID)
ACCOUNT_NAME: Final = "stand-in-for-account"
CONTAINER: Final = "stand-in-for-container"
ENDPOINT: Final = CustomEndpoint("azure.workload.identity/use-stand-in", "stand-in-for-audience", "https://stand-in")
PROXY: Final = ProxySettings("stand-in-for-image")
_NOTHING: Final[Mapping[str, str]] = {}


def pod(
    annotations: Mapping[str, str] = _NOTHING,
    labels: Mapping[str, str] = _NOTHING,
    container: Mapping[str, object] | None = None,
    **spec: object,
) -> Pod:
    """A pod of one container; `spec` adds fields to its spec."""
    written: JsonObject = {
        "metadata": {"annotations": dict(annotations), "labels": dict(labels)},
        "spec": {"serviceAccountName": ACCOUNT_NAME, "containers": [{"name": CONTAINER, **(container or {})}], **spec},
    }
    return Pod.parse(written)


def warnings(
    of: Pod,
    account: Account = ACCOUNT,
    *,
    opted_in: bool = True,
    ways: frozenset[OptIn] = frozenset(OptIn),
    **settings: Any,  # noqa: ANN401  fields of Policy
) -> tuple[AdmissionWarning, ...]:
    """The warnings about a pod: decided and patched; `settings` replace those of the policy."""
    base = Policy(Defaults(CLIENT_ID), authority_host="", proxy=PROXY, opt_in=ways)
    policy = replace(base, **settings)
    decided = decide(of, "stand-in-for-namespace", account, policy, opted_in=opted_in)
    if isinstance(decided, Skip):
        return decided.warnings
    return (*decided.warnings, *mutate(of, decided, policy).warnings)
