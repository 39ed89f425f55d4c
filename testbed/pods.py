"""Pods, accounts, reviews and policies, as small as a test of admission needs them."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

import jsonpatch

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.admit import admit
from webhook.admission.identity import Account, Defaults, IdentityMapping, MappingEntry
from webhook.admission.pod import Pod
from webhook.admission.policy import CustomEndpoint, OptIn, Policy, ProxySettings
from webhook.admission.reasons import AdmissionWarning
from webhook.admission.review import AdmissionOutcome, Decision, Review

NAMESPACE: Final = "shop"
CLIENT_ID: Final = "8a2f2b5c-6c0d-4f6a-9a43-3a0ec33ea1c5"
OTHER_CLIENT_ID: Final = "c7b0f5a4-1f1e-4e57-8a44-0d6a3f0a9d11"
TENANT_ID: Final = "2f5e1c3a-9b7d-4c52-8f61-7a0b9d3e4c25"
OTHER_TENANT_ID: Final = "5b0c9e7f-3d2a-4f18-a6b4-1c8d7e9f0a31"
AUTHORITY_HOST: Final = "https://login.microsoftonline.com/"
USE: Final[Mapping[str, str]] = {names.USE_LABEL: "true"}
ACCOUNT_KEYS: Final = {
    "client_id": names.CLIENT_ID,
    "tenant_id": names.TENANT_ID,
    "expiration": names.TOKEN_EXPIRATION,
}


def container(name: str = "app", **fields: object) -> JsonObject:
    """Write a container."""
    return {"name": name, "image": "registry.test/app:1", **fields}


def pod(
    *containers: JsonObject,
    labels: Mapping[str, str] = USE,
    annotations: Mapping[str, str] | None = None,
    init: tuple[JsonObject, ...] = (),
    **spec: object,
) -> JsonObject:
    """Write a labelled pod of the account `app`, with one container unless others are given."""
    written: JsonObject = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "app", "labels": dict(labels), "annotations": dict(annotations or {})},
        "spec": {"serviceAccountName": "app", "containers": list(containers) or [container()], **spec},
    }
    if init:
        written["spec"]["initContainers"] = list(init)
    return written


def parsed(*containers: JsonObject, **fields: Any) -> Pod:  # noqa: ANN401  the fields of `pod`
    """Read the pod that `pod` writes."""
    return Pod.parse(pod(*containers, **fields))


def mounted(path: str, volume: str = "data", **fields: object) -> JsonObject:
    """Write a container of one mount."""
    return container(volumeMounts=[{"name": volume, "mountPath": path, **fields}])


def variable(name: str, value: str) -> JsonObject:
    """Write a variable of a container."""
    return {"name": name, "value": value}


def account(
    annotations: Mapping[str, object] | None = None, labels: Mapping[str, str] | None = None, **ids: str
) -> Account:
    """Read an account of the client id CLIENT_ID; `ids` (see ACCOUNT_KEYS) replaces it and adds others."""
    known = {ACCOUNT_KEYS[key]: value for key, value in {"client_id": CLIENT_ID, **ids}.items()}
    return Account.from_metadata({"annotations": {**known, **(annotations or {})}, "labels": dict(labels or {})})


def mapping(*entries: tuple[str, str, str]) -> IdentityMapping:
    """Write a mapping from namespace, account and client id."""
    return IdentityMapping(MappingEntry(*entry) for entry in entries)


def policy(*opt_in: OptIn, native: bool = True, **fields: Any) -> Policy:  # noqa: ANN401  the fields of Policy
    """Write the policy of an administrator who has set a tenant, and these opt-ins if any."""
    given: JsonObject = {
        "identity": Defaults(TENANT_ID),
        "authority_host": AUTHORITY_HOST,
        "proxy": ProxySettings("proxy.test/proxy:1", "proxy.test/init:1", native=native),
        "opt_in": frozenset(opt_in or {OptIn.POD_LABEL}),
    }
    return Policy(**(given | fields))


def endpoint(**fields: Any) -> CustomEndpoint:  # noqa: ANN401  the fields of CustomEndpoint
    """Write the custom token endpoint of AKS identity bindings."""
    return CustomEndpoint(
        names.CUSTOM_ENDPOINT_PREFIX + "identity-binding", "api://AKSIdentityBinding", "https://bindings.test", **fields
    )


def envelope(raw: object, **request: object) -> JsonObject:
    """Write the AdmissionReview of a pod's creation; `request` adds to its request or replaces."""
    return {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "c0ffee",
            "namespace": NAMESPACE,
            "operation": "CREATE",
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": raw,
            **request,
        },
    }


def review(raw: object, **request: object) -> Review:
    """Read the AdmissionReview that `envelope` writes."""
    return Review.parse(envelope(raw, **request))


ACCOUNT: Final = account()
POLICY: Final = policy()


def admitted(
    raw: object,
    found: Account | None = ACCOUNT,
    rules: Policy = POLICY,
    *,
    namespace: str = NAMESPACE,
    namespace_labelled: bool = False,
) -> AdmissionOutcome:
    """Admit the creation of a pod whose account is `found`."""

    def find(_namespace: str, _name: str) -> Account | None:
        return found

    request = review(raw, namespace=namespace)
    return admit(request, find, rules, namespace_labelled=namespace_labelled)


def applied(raw: JsonObject, outcome: AdmissionOutcome) -> JsonObject:
    """Apply the outcome's operations with the oracle; `raw` stays as it was."""
    after: JsonObject = jsonpatch.apply_patch(deepcopy(raw), list(outcome.operations))
    return after


def mutated(raw: JsonObject, found: Account | None = ACCOUNT, rules: Policy = POLICY) -> JsonObject:
    """Admit a pod that must be mutated, and return what becomes of it."""
    outcome = admitted(raw, found, rules)
    assert outcome.decision is Decision.MUTATE, outcome.message
    return applied(raw, outcome)


def containers(of: JsonObject) -> Iterator[JsonObject]:
    """Yield every container of a pod, init containers first."""
    yield from of["spec"].get("initContainers") or []
    yield from of["spec"].get("containers") or []


def named(of: JsonObject, name: str) -> JsonObject:
    """Return the container of that name."""
    return next(own for own in containers(of) if own["name"] == name)


def environment(of: JsonObject) -> JsonObject:
    """Return a container's variables with their values."""
    return {entry.get("name"): entry.get("value") for entry in of.get("env") or []}


def mount_paths(of: JsonObject) -> list[str]:
    """Return the paths at which a container has mounts."""
    return [mount.get("mountPath") for mount in of.get("volumeMounts") or []]


def codes(warnings: AdmissionOutcome | tuple[AdmissionWarning, ...] | list[AdmissionWarning]) -> list[str]:
    """Return the codes of warnings, in order."""
    return [warning.code for warning in (warnings.warnings if isinstance(warnings, AdmissionOutcome) else warnings)]
