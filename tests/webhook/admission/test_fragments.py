"""The variables, volume and containers that a pod gets."""

import pytest

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from testbed.pods import AUTHORITY_HOST, CLIENT_ID, TENANT_ID, endpoint
from webhook.admission import fragments
from webhook.admission.identity import Identity
from webhook.admission.layout import ONE_VOLUME, TWO_VOLUMES, TokenVolume
from webhook.admission.policy import CustomEndpoint, ProxySettings, Resources, TrustBundle
from webhook.admission.proxy import ProxyMode, ProxyPlan

V160, DOCUMENTED = MOUNTS = TWO_VOLUMES.mounts
V160_VOLUME, DOCUMENTED_VOLUME = TWO_VOLUMES.volumes
IDENTITY = Identity(CLIENT_ID, TENANT_ID, 3600)
BUNDLE = TrustBundle("example.test/signer", {"matchLabels": {"a": "b"}})


def plan(mode: ProxyMode = ProxyMode.REDIRECT, port: int = 8000) -> ProxyPlan:
    """Write a plan with the default resources."""
    return ProxyPlan(mode, port, Resources())


def test_identity_variables() -> None:
    """The four variables come in v1.6.0's order."""
    variables = fragments.identity_variables(IDENTITY, AUTHORITY_HOST, DOCUMENTED, None)
    assert list(variables.items()) == [
        ("AZURE_CLIENT_ID", CLIENT_ID),
        ("AZURE_TENANT_ID", TENANT_ID),
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/azure/tokens/azure-identity-token"),
        ("AZURE_AUTHORITY_HOST", AUTHORITY_HOST),
    ]


def test_empty_variables_are_left_out() -> None:
    """With everything empty only the token file's variable remains."""
    variables = fragments.identity_variables(Identity("", "", 3600), "", V160, None)
    assert variables == {"AZURE_FEDERATED_TOKEN_FILE": "/var/run/secrets/azure/wi/token/azure-identity-token"}


@pytest.mark.parametrize(
    ("custom", "ca"),
    [
        (endpoint(), {}),
        (endpoint(ca_data="PEM"), {"AZURE_KUBERNETES_CA_DATA": "PEM"}),
        (endpoint(ca_configmap="ca"), {"AZURE_KUBERNETES_CA_FILE": "/var/run/secrets/azure/tokens/ca-cert/ca.crt"}),
        (endpoint(ca_bundle=BUNDLE), {"AZURE_KUBERNETES_CA_FILE": "/var/run/secrets/azure/tokens/ca-cert/ca.crt"}),
    ],
)
def test_endpoint_variables(custom: CustomEndpoint, ca: dict[str, str]) -> None:
    """A custom endpoint adds its URL and at most one CA variable: SDKs refuse the file together with the data."""
    variables = fragments.identity_variables(IDENTITY, AUTHORITY_HOST, DOCUMENTED, custom)
    assert {name: value for name, value in variables.items() if name.startswith("AZURE_KUBERNETES_")} == {
        "AZURE_KUBERNETES_TOKEN_PROXY": "https://bindings.test",
        **ca,
    }


def test_endpoint_server_name() -> None:
    """A custom endpoint's TLS server name is a variable when it is set."""
    variables = fragments.identity_variables(IDENTITY, "", DOCUMENTED, endpoint(sni_name="sni.test"))
    assert variables["AZURE_KUBERNETES_SNI_NAME"] == "sni.test"


@pytest.mark.parametrize(
    ("planned", "expected"),
    [
        (None, {}),
        (plan(ProxyMode.REDIRECT), {}),
        (plan(ProxyMode.ENVIRONMENT, 8080), {"AZURE_POD_IDENTITY_AUTHORITY_HOST": "http://127.0.0.1:8080"}),
    ],
)
def test_environment_mode_variables(planned: ProxyPlan | None, expected: dict[str, str]) -> None:
    """A variable points SDKs at the proxy when nothing redirects them."""
    assert fragments.environment_mode_variables(planned) == expected


@pytest.mark.parametrize(
    ("wanted", "paths"),
    [
        (V160_VOLUME, ["token/azure-identity-token"]),
        (DOCUMENTED_VOLUME, ["azure-identity-token"]),
        (ONE_VOLUME.volumes[0], ["azure-identity-token", "token/azure-identity-token"]),
    ],
)
def test_volume(wanted: TokenVolume, paths: list[str]) -> None:
    """A volume has the token at its paths, with the mode that an API server would default."""
    token = {"audience": "api://test", "expirationSeconds": 3600}
    assert fragments.volume(wanted, IDENTITY, "api://test", None) == {
        "name": wanted.name,
        "projected": {
            "defaultMode": 420,
            "sources": [{"serviceAccountToken": {**token, "path": path}} for path in paths],
        },
    }


@pytest.mark.parametrize(
    ("custom", "source"),
    [
        (
            endpoint(ca_configmap="kube-root-ca.crt"),
            {
                "configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca-cert/ca.crt"}],
                    "optional": False,
                }
            },
        ),
        (
            endpoint(ca_bundle=BUNDLE),
            {
                "clusterTrustBundle": {
                    "signerName": "example.test/signer",
                    "labelSelector": {"matchLabels": {"a": "b"}},
                    "path": "ca-cert/ca.crt",
                    "optional": False,
                }
            },
        ),
        (
            endpoint(ca_bundle=TrustBundle("example.test/signer")),
            {
                "clusterTrustBundle": {
                    "signerName": "example.test/signer",
                    "path": "ca-cert/ca.crt",
                    "optional": False,
                }
            },
        ),
    ],
)
@pytest.mark.parametrize("wanted", TWO_VOLUMES.volumes)
def test_volume_with_a_ca(custom: CustomEndpoint, source: JsonObject, wanted: TokenVolume) -> None:
    """The endpoint's CA is one more source of both volumes, and its audience replaces the default."""
    token, *others = fragments.volume(wanted, IDENTITY, "api://test", custom)["projected"]["sources"]
    assert others == [source]
    assert token["serviceAccountToken"]["audience"] == "api://AKSIdentityBinding"


def test_volume_with_ca_data() -> None:
    """A CA that is a variable is not in the volume."""
    volume = fragments.volume(DOCUMENTED_VOLUME, IDENTITY, "", endpoint(ca_data="PEM"))
    assert len(volume["projected"]["sources"]) == 1


def test_volume_with_the_proxys_ca() -> None:
    """The proxy's certificates are one more source, beside the endpoint's; a pod does not start without them."""
    volume = fragments.volume(DOCUMENTED_VOLUME, IDENTITY, "", endpoint(ca_configmap="ca"), "egress-ca")
    _, first, second = volume["projected"]["sources"]
    assert first["configMap"]["items"] == [{"key": "ca.crt", "path": "ca-cert/ca.crt"}]
    assert second == {
        "configMap": {
            "name": "egress-ca",
            "items": [{"key": "ca.crt", "path": "proxy-ca/ca.crt"}],
            "optional": False,
        }
    }


def test_v160s_volume_with_the_proxys_ca() -> None:
    """v1.6.0's volume never has the proxy's certificates: it stays as v1.6.0 makes it."""
    plain = fragments.volume(V160_VOLUME, IDENTITY, "", None)
    assert fragments.volume(V160_VOLUME, IDENTITY, "", None, "egress-ca") == plain


@pytest.mark.parametrize("proxy_ca", ["", "egress-ca"])
def test_our_volumes(proxy_ca: str) -> None:
    """A volume that was made under other settings is recognised."""
    for wanted in (*TWO_VOLUMES.volumes, *ONE_VOLUME.volumes):
        assert fragments.is_ours(fragments.volume(wanted, IDENTITY, "api://old", endpoint(ca_configmap="ca"), proxy_ca))


@pytest.mark.parametrize(
    "volume",
    [
        {},
        {"emptyDir": {}},
        {"projected": None},
        {"projected": {"sources": None}},
        {"projected": {"sources": ["token"]}},
        {"projected": {"sources": [{"serviceAccountToken": "token"}]}},
        {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}},
        {"projected": {"sources": [{"configMap": {"name": "ca"}}]}},
    ],
)
def test_volumes_of_others(volume: JsonObject) -> None:
    """Any other volume is the user's."""
    assert not fragments.is_ours({"name": names.VOLUME, **volume})


def test_proxy_container() -> None:
    """The native sidecar is always restarted, and its startup probe delays the next container."""
    container = fragments.proxy_container(plan(port=8080), ProxySettings("proxy.test/proxy:1"), {"A": "b"}, MOUNTS)
    assert container["restartPolicy"] == "Always"
    assert container["command"] == ["/proxy"]
    assert container["args"] == ["--proxy-port=8080", "--log-level=info"]
    assert container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert container["env"] == [{"name": "A", "value": "b"}]
    assert container["startupProbe"]["exec"]["command"] == [
        "/proxy",
        "--proxy-port=8080",
        "--probe",
        "--log-level=info",
    ]
    assert "lifecycle" not in container


@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        ({"https_proxy": "http://p:1", "no_proxy": "a,b"}, {"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a,b"}),
        ({"ca_configmap": "ca"}, {"SSL_CERT_FILE": "/var/run/secrets/azure/tokens/proxy-ca/ca.crt"}),
    ],
)
@pytest.mark.parametrize("native", [True, False])
def test_egress_variables(settings: JsonObject, variables: dict[str, str], *, native: bool) -> None:
    """How to get out of the cluster, and whom to trust there, follows the identity among the sidecar's variables."""
    given = ProxySettings("proxy.test/proxy:1", native=native, **settings)
    container = fragments.proxy_container(plan(), given, {"A": "b"}, MOUNTS)
    assert {entry["name"]: entry["value"] for entry in container["env"]} == {"A": "b", **variables}
    init = fragments.proxy_init_container(plan(), given)
    assert not variables.keys() & {entry["name"] for entry in init["env"]}


def test_pass_through() -> None:
    """The paths that are left to the node's IMDS are an argument of the sidecar, and not of its probe."""
    settings = ProxySettings("proxy.test/proxy:1", pass_through="/metadata/instance")  # noqa: S106  a path
    container = fragments.proxy_container(plan(), settings, {}, MOUNTS)
    assert container["args"] == ["--proxy-port=8000", "--log-level=info", "--pass-through=/metadata/instance"]
    assert len(container["startupProbe"]["exec"]["command"]) == 4


@pytest.mark.parametrize(("mode", "uid"), [(ProxyMode.ENVIRONMENT, None), (ProxyMode.REDIRECT, 1501)])
def test_assigned_uid(mode: ProxyMode, uid: int | None) -> None:
    """The cluster can assign the sidecar's uid, as OpenShift does, unless redirect rules depend on it."""
    settings = ProxySettings("proxy.test/proxy:1", assigned_uid=True)
    context = fragments.proxy_container(plan(mode=mode), settings, {}, MOUNTS)["securityContext"]
    assert (context.get("runAsUser"), context.get("runAsGroup")) == (uid, uid)
    assert context["runAsNonRoot"] is True


def test_classic_proxy_container() -> None:
    """The ordinary container is held to its start by a postStart hook, as in v1.6.0."""
    settings = ProxySettings("proxy.test/proxy:1", native=False, log_level="debug")
    container = fragments.proxy_container(plan(), settings, {}, MOUNTS)
    assert container["lifecycle"]["postStart"]["exec"]["command"] == [
        "/proxy",
        "--proxy-port=8000",
        "--probe",
        "--log-level=debug",
    ]
    assert "restartPolicy" not in container
    assert "startupProbe" not in container


def test_the_proxys_security_context() -> None:
    """The sidecar sets its own uid, gid and seccomp profile, and satisfies Pod Security `restricted`."""
    assert fragments.proxy_container(plan(), ProxySettings("x"), {}, MOUNTS)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "privileged": False,
        "readOnlyRootFilesystem": True,
        "runAsGroup": 1501,
        "runAsNonRoot": True,
        "runAsUser": 1501,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def test_the_proxys_resources() -> None:
    """Both proxy containers have requests and limits, so that a ResourceQuota lets the pod in."""
    expected = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "64Mi"}}
    assert fragments.proxy_container(plan(), ProxySettings("x"), {}, MOUNTS)["resources"] == expected
    assert fragments.proxy_init_container(plan(), ProxySettings("x"))["resources"] == expected


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        (Resources("", "", "", ""), {}),
        (Resources("1", "", "", ""), {"requests": {"cpu": "1"}}),
        (Resources("", "", "", "1Gi"), {"limits": {"memory": "1Gi"}}),
    ],
)
def test_empty_resources_are_left_out(resources: Resources, expected: JsonObject) -> None:
    """Resources that are not set are left out."""
    container = fragments.proxy_container(
        ProxyPlan(ProxyMode.REDIRECT, 8000, resources), ProxySettings("x"), {}, MOUNTS
    )
    assert container["resources"] == expected


def test_proxy_init_container() -> None:
    """The init container has two capabilities and the port, is never privileged, and gets no identity."""
    container = fragments.proxy_init_container(
        plan(port=8080), ProxySettings("proxy.test/proxy:1", "proxy.test/init:1")
    )
    assert container["image"] == "proxy.test/init:1"
    assert container["env"] == [
        {"name": "PROXY_PORT", "value": "8080"},
        {"name": "XTABLES_LOCKFILE", "value": "/dev/shm/xtables.lock"},  # noqa: S108  a path in the container
    ]
    assert container["securityContext"]["privileged"] is False
    assert container["securityContext"]["capabilities"] == {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]}
    assert (container["securityContext"]["runAsUser"], container["securityContext"]["runAsNonRoot"]) == (0, False)
    assert "command" not in container
    assert "volumeMounts" not in container


def test_one_image_for_both() -> None:
    """Without an image of its own, the init container runs the proxy's with the argument `init`."""
    container = fragments.proxy_init_container(plan(), ProxySettings("proxy.test/proxy:1"))
    assert (container["image"], container["command"]) == ("proxy.test/proxy:1", ["/proxy", "init"])
