"""What settings mean to admission."""

import pytest

from webhook.admission.identity import IdentityMapping
from webhook.admission.policy import Policy, TrustBundle
from webhook.config.command_line import load
from webhook.config.policies import build
from webhook.config.settings import PROXY_IMAGE, PROXY_INIT_IMAGE

TENANT = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"


def policy(*flags: str, version: tuple[int, int] | None = None, **environment: str) -> Policy:
    """Build the policy of these settings."""
    settings = load(["--service-accounts=.", *flags], {"AZURE_TENANT_ID": TENANT, **environment})
    return build(settings, IdentityMapping(), version)


@pytest.mark.parametrize(
    ("cloud", "host"),
    [
        ("", "https://login.microsoftonline.com/"),
        ("AzurePublicCloud", "https://login.microsoftonline.com/"),
        ("azurecloud", "https://login.microsoftonline.com/"),
        ("AzureUSGovernmentCloud", "https://login.microsoftonline.us/"),
        ("AzureUSGovernment", "https://login.microsoftonline.us/"),
        ("AzureChinaCloud", "https://login.chinacloudapi.cn/"),
        ("AzureGermanCloud", "https://login.microsoftonline.de/"),
    ],
)
def test_authority_hosts(cloud: str, host: str) -> None:
    """A cloud's name, in any case, gives its login endpoint."""
    assert policy(AZURE_ENVIRONMENT=cloud).authority_host == host


def test_authority_host_of_its_own() -> None:
    """AZURE_AUTHORITY_HOST names the endpoint of any other cloud."""
    assert policy(AZURE_AUTHORITY_HOST="https://login.moon.test/").authority_host == "https://login.moon.test/"


@pytest.mark.parametrize(
    ("flag", "version", "native"),
    [
        ("auto", None, True),
        ("auto", (1, 28), False),
        ("auto", (1, 29), True),
        ("auto", (1, 36), True),
        ("auto", (2, 0), True),
        ("always", (1, 20), True),
        ("never", (1, 36), False),
    ],
)
def test_native_sidecars(flag: str, version: tuple[int, int] | None, *, native: bool) -> None:
    """The proxy is a native sidecar from Kubernetes 1.29 on, unless a flag says otherwise."""
    assert policy(f"--native-sidecars={flag}", version=version).proxy.native is native


def test_default_images() -> None:
    """Without images of one's own v1.6.0's pair is injected."""
    assert policy().proxy.image == PROXY_IMAGE
    assert policy().proxy.init_image == PROXY_INIT_IMAGE


def test_one_image() -> None:
    """PROXY_IMAGE alone does both jobs."""
    assert policy(PROXY_IMAGE="mine:1").proxy.image == "mine:1"
    assert policy(PROXY_IMAGE="mine:1").proxy.init_image == ""


def test_two_images() -> None:
    """PROXY_INIT_IMAGE names another image for the init container."""
    assert policy(PROXY_IMAGE="mine:1", PROXY_INIT_IMAGE="init:1").proxy.init_image == "init:1"


def test_egress() -> None:
    """How the proxy gets out reaches admission as the sidecar reads it: lists with commas, none as nothing."""
    flags = (
        "--proxy-https-proxy=http://proxy:3128",
        "--proxy-no-proxy=.test, 10.0.0.0/8",
        "--proxy-ca-configmap=ca",
        "--proxy-pass-through=/metadata/instance,/metadata/versions",
    )
    proxy = policy(*flags, PROXY_IMAGE="mine:1").proxy
    assert (proxy.https_proxy, proxy.no_proxy) == ("http://proxy:3128", ".test,10.0.0.0/8")
    assert (proxy.ca_configmap, proxy.pass_through) == ("ca", "/metadata/instance,/metadata/versions")
    plain = policy().proxy
    assert (plain.https_proxy, plain.no_proxy, plain.ca_configmap, plain.pass_through) == ("", "", "", "")


def test_proxy_log_level() -> None:
    """The proxy logs as the webhook does, on info where the webhook's level is unset."""
    assert policy("--log-level=debug").proxy.log_level == "debug"
    assert policy("--log-level=").proxy.log_level == "info"


def test_custom_endpoint_off() -> None:
    """Without its flags there is no custom token endpoint, whatever the variables say."""
    assert policy(AZURE_KUBERNETES_TOKEN_PROXY="https://x.test/").custom_endpoint is None  # noqa: S106  a URL


def test_custom_endpoint() -> None:
    """The flags and variables of the custom token endpoint become one value."""
    endpoint = policy(
        "--custom-token-endpoint-annotation-suffix=identity-binding",
        "--custom-token-endpoint-audience=api://AKSIdentityBinding",
        AZURE_KUBERNETES_TOKEN_PROXY="https://x.test/",  # noqa: S106  a URL
        AZURE_KUBERNETES_SNI_NAME="sni.test",
        AZURE_KUBERNETES_CA_CTB_SIGNER_NAME="example.com/signer",
        AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR='{"matchLabels": {"a": "b"}}',
    ).custom_endpoint
    assert endpoint is not None
    assert endpoint.annotation == "azure.workload.identity/use-identity-binding"
    assert endpoint.audience == "api://AKSIdentityBinding"
    assert (endpoint.url, endpoint.sni_name) == ("https://x.test/", "sni.test")
    assert endpoint.ca_bundle == TrustBundle("example.com/signer", {"matchLabels": {"a": "b"}})


def test_second_audience() -> None:
    """The audience of the second token is a setting, by default none."""
    assert policy().second_audience == ""
    assert policy("--second-token-audience=api://AzureADTokenExchange").second_audience == "api://AzureADTokenExchange"
