"""Where a pod has its token: the layouts of this webhook, of its former versions, and of v1.6.0 and v1.6.1."""

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.pods import (
    admitted,
    applied,
    codes,
    container,
    endpoint,
    environment,
    mount_paths,
    mounted,
    mutated,
    named,
    parsed,
    pod,
    policy,
)
from webhook.admission import fragments
from webhook.admission.identity import Identity
from webhook.admission.layout import ONE_VOLUME, TWO_VOLUMES, layout_of
from webhook.admission.policy import Policy, ProxySettings
from webhook.admission.reasons import Reason

HASH = "5c9e0b8f7a6d4e3c2b1a09f8e7d6c5"
UPSTREAM = names.VOLUME_PREFIX + HASH
TOKEN: JsonObject = {
    "audience": names.DEFAULT_AUDIENCE,
    "expirationSeconds": 3600,
    "path": "token/azure-identity-token",
}
UPSTREAM_VOLUME: JsonObject = {"name": UPSTREAM, "projected": {"sources": [{"serviceAccountToken": TOKEN}]}}
UPSTREAM_DIRECTORIES = [names.V160_DIRECTORY, f"{names.V160_DIRECTORY}/{HASH}"]
BINDING = {names.CUSTOM_ENDPOINT_PREFIX + "identity-binding": "true"}
PROXY = {names.INJECT_PROXY: "true"}
EGRESS = policy(proxy=ProxySettings("proxy.test/proxy:1", ca_configmap="ca"))


def by_upstream(directory: str, *others: JsonObject, annotations: dict[str, str] | None = None) -> JsonObject:
    """Write a pod as v1.6.0 or v1.6.1 mutates it, and containers that were added after that."""
    mount = {"name": UPSTREAM, "mountPath": directory, "readOnly": True}
    token_file = {"name": names.ENV_TOKEN_FILE, "value": f"{directory}/token/azure-identity-token"}
    own = container(env=[token_file], volumeMounts=[mount])
    return pod(own, *others, volumes=[UPSTREAM_VOLUME], annotations=annotations)


@pytest.mark.parametrize(
    ("annotations", "rules", "others"),
    [
        ({}, policy(), []),
        (BINDING, policy(custom_endpoint=endpoint()), []),
        (
            BINDING,
            policy(custom_endpoint=endpoint(ca_configmap="kube-root-ca.crt")),
            [("configMap", "kube-root-ca.crt", [{"key": "ca.crt", "path": "ca-cert/ca.crt"}])],
        ),
        (PROXY, EGRESS, []),
    ],
)
def test_the_form_of_v160(annotations: dict[str, str], rules: Policy, others: list[object]) -> None:
    """The first mount of v1.6.0's volume is at its path, and the volume has v1.6.0's sources and no others.

    So v1.6.0's own end-to-end tests look at it: by the prefix of the name, in every container.
    """
    after = mutated(pod(init=(container("init"),), annotations=annotations), rules=rules)
    (volume,) = [own for own in after["spec"]["volumes"] if own["name"].startswith(names.VOLUME_PREFIX)]
    token, *rest = volume["projected"]["sources"]
    assert set(volume) == {"name", "projected"}
    assert volume["projected"]["defaultMode"] == 420
    audience = "api://AKSIdentityBinding" if annotations is BINDING else names.DEFAULT_AUDIENCE
    assert token == {"serviceAccountToken": {**TOKEN, "audience": audience}}
    assert [("configMap", *(source["configMap"][key] for key in ("name", "items"))) for source in rest] == others
    for name in ("app", "init"):
        first = named(after, name)["volumeMounts"][0]
        assert first == {"name": volume["name"], "mountPath": "/var/run/secrets/azure/wi", "readOnly": True}


def test_the_documented_path() -> None:
    """A second volume, whose name does not look like v1.6.0's, has the token at the documented path."""
    after = mutated(pod())
    second = named(after, "app")["volumeMounts"][1]
    assert second["mountPath"] == "/var/run/secrets/azure/tokens"
    assert not second["name"].startswith(names.VOLUME_PREFIX)
    tokens = [volume["projected"]["sources"][0]["serviceAccountToken"] for volume in after["spec"]["volumes"]]
    # Equal but for the path, so that both share an entry of the kubelet's token cache.
    assert {(token["audience"], token["expirationSeconds"]) for token in tokens} == {(names.DEFAULT_AUDIENCE, 3600)}


def test_the_layout_of_a_new_pod() -> None:
    """A pod without a token gets two volumes."""
    assert layout_of(parsed(), extended=False) is TWO_VOLUMES


def test_the_layout_of_a_former_version() -> None:
    """A pod with the one volume of a former version keeps it, and a container that is added gets the same mounts."""
    (wanted,) = ONE_VOLUME.volumes
    mounts = [fragments.mount(token) for token in ONE_VOLUME.mounts]
    volume = fragments.volume(wanted, Identity("", "", 3600), names.DEFAULT_AUDIENCE, None)
    raw = pod(container("app", volumeMounts=mounts), container("late"), volumes=[volume])
    after = mutated(raw)
    assert after["spec"]["volumes"] == [volume]
    assert named(after, "app")["volumeMounts"] == named(after, "late")["volumeMounts"] == mounts


@pytest.mark.parametrize("directory", UPSTREAM_DIRECTORIES)
def test_a_pod_of_upstream(directory: str) -> None:
    """A container that v1.6.0 or v1.6.1 has mutated keeps its one mount, without a warning."""
    raw = by_upstream(directory)
    outcome = admitted(raw)
    after = applied(raw, outcome)
    assert codes(outcome) == []
    assert mount_paths(named(after, "app")) == [directory]
    assert [volume["name"] for volume in after["spec"]["volumes"]] == [UPSTREAM]
    assert admitted(after).reason is Reason.ALREADY_INJECTED


@pytest.mark.parametrize("directory", UPSTREAM_DIRECTORIES)
def test_a_container_added_after_upstream(directory: str) -> None:
    """A container that was added after v1.6.0 or v1.6.1 gets its volume where the others have it."""
    late = named(mutated(by_upstream(directory, container("late"))), "late")
    assert late["volumeMounts"] == [{"name": UPSTREAM, "mountPath": directory, "readOnly": True}]
    assert environment(late)[names.ENV_TOKEN_FILE] == f"{directory}/token/azure-identity-token"


@pytest.mark.parametrize("directory", UPSTREAM_DIRECTORIES)
def test_no_room_for_upstreams_mount(directory: str) -> None:
    """A container whose own mount is in the way of v1.6.0's gets its volume at the third directory, for good."""
    raw = by_upstream(directory, mounted(directory))
    raw["spec"]["containers"][1]["name"] = "late"
    after = mutated(raw)
    assert mount_paths(named(after, "late")) == [directory, names.FALLBACK_DIRECTORY]
    assert admitted(after).operations == []


def test_a_proxy_beside_upstreams_volume() -> None:
    """Where the proxy needs certificates, the second volume has them, also in a pod that v1.6.0 has mutated."""
    after = mutated(by_upstream(names.V160_DIRECTORY, annotations=PROXY), rules=EGRESS)
    assert [volume["name"] for volume in after["spec"]["volumes"]] == [UPSTREAM, names.DOCUMENTED_VOLUME]
    proxy = named(after, "azwi-proxy")
    assert environment(proxy)["SSL_CERT_FILE"].startswith(names.DOCUMENTED_DIRECTORY)
    assert mount_paths(proxy) == [names.V160_DIRECTORY, names.DOCUMENTED_DIRECTORY]
    assert admitted(after, rules=EGRESS).operations == []


@pytest.mark.parametrize(
    "volume",
    [
        {"name": UPSTREAM, "emptyDir": {}},
        {"name": UPSTREAM, "projected": {"sources": [{"serviceAccountToken": {"path": "mine"}}]}},
        {"name": UPSTREAM, "projected": None},
        {"name": UPSTREAM, "projected": {"sources": ["token", {"serviceAccountToken": []}]}},
        {**UPSTREAM_VOLUME, "name": "data"},
    ],
)
def test_volumes_that_are_not_upstreams(volume: JsonObject) -> None:
    """A volume with another name or without v1.6.0's token is the user's."""
    assert layout_of(parsed(volumes=[volume]), extended=False) is TWO_VOLUMES


@pytest.mark.parametrize(
    "mount",
    [
        {"name": UPSTREAM, "mountPath": "/data"},
        {"name": UPSTREAM, "mountPath": f"{names.V160_DIRECTORY}/x", "subPath": "token"},
        {"name": UPSTREAM, "mountPath": 7},
        {"name": UPSTREAM},
    ],
)
def test_mounts_that_are_not_upstreams(mount: JsonObject) -> None:
    """A mount elsewhere, or of a part of the volume, does not tell where v1.6.1 mounts it."""
    layout = layout_of(parsed(container(volumeMounts=[mount]), volumes=[UPSTREAM_VOLUME]), extended=False)
    assert layout.directories == (names.V160_DIRECTORY, names.FALLBACK_DIRECTORY)


@pytest.mark.parametrize("directory", UPSTREAM_DIRECTORIES)
def test_a_second_token_beside_upstreams_volume(directory: str) -> None:
    """In a pod of v1.6.0 or v1.6.1 the second token is in a volume of this webhook, and the first stays where it is."""
    raw = by_upstream(directory, annotations={names.SECOND_AUDIENCE: "api://second"})
    after = mutated(raw)
    app = named(after, "app")
    assert mount_paths(app) == [directory, names.DOCUMENTED_DIRECTORY]
    assert environment(app)[names.ENV_TOKEN_FILE] == f"{directory}/token/azure-identity-token"
    assert environment(app)[names.ENV_SECOND_TOKEN_FILE] == f"{names.DOCUMENTED_DIRECTORY}/second-identity-token"
    assert admitted(after).operations == []
