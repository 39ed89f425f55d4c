"""Apps with unmodified Azure SDKs get access tokens from Entra, out of pods."""

from typing import Final

import pytest
import trustme

from azure_workload_identity import names
from testbed.cluster.control_plane import UNTIL_TIMEOUT
from testbed.cluster.server import wait_until_true
from testbed.pods import CLIENT_ID, OTHER_CLIENT_ID
from tests.cluster.support.release import Release
from tests.e2e.azure import BINDING_AUDIENCE, Azure
from tests.e2e.report import timed
from tests.e2e.workloads import CONFIGMAP, RESTRICTED, Workloads, app, container, job, looker, named, pod, template
from tests.support.azure_app import Tokens

PROXY: Final = {names.INJECT_PROXY: "true"}
ENVIRONMENT: Final = {**PROXY, names.PROXY_MODE: "environment"}
# Managed-identity credentials of newer SDKs use the projected token themselves if its variables are set. These apps
# must use managed identity alone, so they set the variables to empty; the webhook keeps variables that a user sets.
MANAGED_IDENTITY_ALONE: Final = {names.ENV_TOKEN_FILE: ""}
MODES: Final = pytest.mark.parametrize("mode", ["redirect", "environment"])


def whose(azure: Azure, tokens: Tokens) -> dict[str, str]:
    """Return whose tokens an app got by which credential, after checking each; it must have got all it asked for."""
    assert tokens.errors == {}
    return {credential: azure.client_id(token) for credential, token in tokens.tokens.items()}


def in_mode(mode: str, restricted: Workloads, ordinary: Workloads) -> tuple[Workloads, dict[str, str]]:
    """Return where a pod with the proxy runs, and its annotations: only redirect mode needs more than `restricted`."""
    return (restricted, ENVIRONMENT) if mode == "environment" else (ordinary, PROXY)


def test_workload_identity(restricted: Workloads, azure: Azure) -> None:
    """`WorkloadIdentityCredential()` and `DefaultAzureCredential()` get a token of the account's identity."""
    with timed("pod with workload identity to its end"):
        tokens = restricted.tokens(pod("plain", app("workload-identity", "default", "msal-confidential")))
    assert set(whose(azure, tokens).values()) == {CLIENT_ID}
    assert len(tokens.tokens) == 3


def test_two_identities(restricted: Workloads, azure: Azure) -> None:
    """One account gets tokens of two identities, the second by `workload_identity_client_id`."""
    asked = ("default", "default-client-id", "workload-identity-client-id")
    with timed("pod with two identities to its end"):
        tokens = restricted.tokens(pod("two", app(*asked)))
    expected = {
        "default": CLIENT_ID,
        "default-client-id": OTHER_CLIENT_ID,
        "workload-identity-client-id": OTHER_CLIENT_ID,
    }
    assert whose(azure, tokens) == expected


@MODES
def test_managed_identity(mode: str, restricted: Workloads, ordinary: Workloads, azure: Azure) -> None:
    """`ManagedIdentityCredential()` gets its token from the proxy, which gets it from Entra."""
    workloads, annotations = in_mode(mode, restricted, ordinary)
    asking = app("managed-identity", "managed-identity-client-id", "msal", env=MANAGED_IDENTITY_ALONE)
    before = len(azure.entra.exchanges)
    with timed(f"Job with the proxy in {mode} mode to its end"):
        tokens = workloads.tokens(job("managed", template(asking, annotations=annotations)))
    expected = {"managed-identity": CLIENT_ID, "managed-identity-client-id": OTHER_CLIENT_ID, "msal": CLIENT_ID}
    assert whose(azure, tokens) == expected
    agents = {exchange.user_agent.partition("/")[0] for exchange in azure.entra.exchanges[before:]}
    assert agents == {"azwi-proxy"}


@MODES
def test_init_container(mode: str, restricted: Workloads, ordinary: Workloads, azure: Azure) -> None:
    """An init container of the user's gets its token through the proxy, which has started before it."""
    workloads, annotations = in_mode(mode, restricted, ordinary)
    setup = app("managed-identity", name="setup", env=MANAGED_IDENTITY_ALONE)
    with timed(f"pod whose init container asks the proxy in {mode} mode to its end"):
        tokens = workloads.tokens(pod("init", looker(), annotations=annotations, initContainers=[setup]), "setup")
    assert whose(azure, tokens) == {"managed-identity": CLIENT_ID}


def test_the_proxy_waits_for_its_ca(release: Release) -> None:
    """A pod whose namespace has not got the ConfigMap yet says so, and starts by itself once it has."""
    waiting = Workloads(release.control_plane, release.workload_namespace(RESTRICTED))
    small = {**container("-c", "pass"), "volumeMounts": []}
    made = waiting.create(pod("waits", small, annotations=ENVIRONMENT, volumes=[]))
    events = ("get", "events", "--field-selector=reason=FailedMount", "--output=jsonpath={.items[*].message}")
    wait_until_true(lambda: f'configmap "{CONFIGMAP}" not found' in waiting.kubectl(*events), "the event")
    waiting.create(named("ConfigMap", CONFIGMAP, "v1", data={"ca.crt": trustme.CA().cert_pem.bytes().decode()}))
    waiting.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", made, UNTIL_TIMEOUT)


def test_identity_binding(restricted: Workloads, azure: Azure) -> None:
    """With an identity binding the SDK exchanges tokens through the token proxy, whose CA only the pod knows."""
    restricted.cluster.create_service_account(restricted.namespace, "bound", {names.CLIENT_ID: CLIENT_ID})
    azure.trust(restricted.namespace, "bound", BINDING_AUDIENCE)
    annotations = {f"{names.CUSTOM_ENDPOINT_PREFIX}identity-binding": "true"}
    before = len(azure.entra.exchanges)
    with timed("pod with an identity binding to its end"):
        tokens = restricted.tokens(
            pod("bound", app("identity-binding"), annotations=annotations, serviceAccountName="bound")
        )
    assert whose(azure, tokens) == {"identity-binding": CLIENT_ID}
    (exchange,) = azure.entra.exchanges[before:]
    assert exchange.host == azure.token_proxy.removeprefix("https://")
