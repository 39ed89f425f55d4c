"""Settings from flags and variables, and the sentences that refuse them."""

import re
from datetime import timedelta
from pathlib import Path

import pytest

from azure_workload_identity import names
from imds_proxy import settings as proxy_settings
from imds_proxy.http_proxy import proxy_for
from imds_proxy.settings import Origin
from webhook.admission.policy import OptIn
from webhook.config.command_line import SettingsError, load
from webhook.config.settings import SOURCES, Address, Settings

TENANT = "9d1b6c3e-5a7f-4c2d-8e90-1f2a3b4c5d6e"
ENVIRONMENT = {"AZURE_TENANT_ID": TENANT}
FILES = "--service-accounts=examples"
ENDPOINT = (
    "--custom-token-endpoint-annotation-suffix=identity-binding",
    "--custom-token-endpoint-audience=api://AKSIdentityBinding",
)
ENDPOINT_URL = {"AZURE_KUBERNETES_TOKEN_PROXY": "https://token-proxy.test/"}


def settings(*flags: str, **environment: str) -> Settings:
    """Load settings that need no cluster."""
    return load([FILES, *flags], {**ENVIRONMENT, **environment})


def refusal(*flags: str, **environment: str) -> str:
    """Return the message that refuses settings."""
    with pytest.raises(SettingsError) as refused:
        settings(*flags, **environment)
    return str(refused.value)


def test_defaults_are_those_of_v160() -> None:
    """Without flags the server listens, looks and decides where v1.6.0 does."""
    defaults = load(["--disable-cert-rotation"], ENVIRONMENT)
    assert defaults.webhook_port == 9443
    assert defaults.health_addr == Address("", 9440)
    assert defaults.metrics_addr == Address("", 8095)
    assert defaults.webhook_cert_dir == Path("/certs")
    assert defaults.tls_min_version == "1.3"
    assert defaults.cloud == "AzurePublicCloud"
    assert defaults.opt_in == {OptIn.POD_LABEL}
    assert defaults.token_expiration == 3600


@pytest.mark.parametrize("flag", ["--audience=x", "-audience=x"])
def test_flag_spellings(flag: str) -> None:
    """One dash or two: flags are spelled as Go's flag package takes them."""
    assert settings(flag).audience == "x"


def test_flag_and_value_apart() -> None:
    """A value may follow its flag as a separate word."""
    assert settings("-audience", "x").audience == "x"


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--disable-cert-rotation", True),
        ("--disable-cert-rotation=true", True),
        ("-disable-cert-rotation=1", True),
        ("--disable-cert-rotation=false", False),
        ("--disable-cert-rotation=F", False),
    ],
)
def test_boolean_flags(flag: str, *, value: bool) -> None:
    """A boolean flag stands alone or has a value."""
    assert settings(flag).disable_cert_rotation is value


def test_flag_over_variable() -> None:
    """Of a flag and a variable for the same setting the flag wins."""
    assert settings("--webhook-port=1", WEBHOOK_PORT="2").webhook_port == 1
    assert settings(WEBHOOK_PORT="2").webhook_port == 2


def test_empty_variable() -> None:
    """An empty variable counts as not set."""
    assert settings(AZURE_ENVIRONMENT="").cloud == "AzurePublicCloud"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9440", Address("", 9440)),
        ("127.0.0.1:1", Address("127.0.0.1", 1)),
        ("[::1]:2", Address("::1", 2)),
        ("0", None),
    ],
)
def test_addresses(text: str, address: Address | None) -> None:
    """Addresses are written as Go's net package has them, and 0 means no listener."""
    assert settings(f"--health-addr={text}").health_addr == address


def test_opt_in_list() -> None:
    """--opt-in is a set, separated by commas."""
    assert settings("--opt-in=pod-label, service-account").opt_in == {OptIn.POD_LABEL, OptIn.SERVICE_ACCOUNT}


@pytest.mark.parametrize("tenant", [TENANT, "contoso.onmicrosoft.com"])
def test_tenants(tenant: str) -> None:
    """A tenant is named by its UUID or one of its domains."""
    assert settings(AZURE_TENANT_ID=tenant).tenant_id == tenant


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ((), {"AZURE_TENANT_ID": ""}, "AZURE_TENANT_ID is not set: it must be the tenant's UUID or one of its domains"),
        ((), {"AZURE_TENANT_ID": "mine"}, "AZURE_TENANT_ID 'mine' must be the tenant's UUID"),
        ((), {"AZURE_ENVIRONMENT": "AzureMoonCloud"}, "set AZURE_AUTHORITY_HOST to its login endpoint"),
        ((), {"AZURE_AUTHORITY_HOST": "http://x/"}, "AZURE_AUTHORITY_HOST 'http://x/' must be an https URL"),
        ((), {"WEBHOOK_PORT": "70000"}, "--webhook-port '70000' must be less than or equal to 65535"),
        (("--webhook-port=x",), {}, "--webhook-port 'x' must be a whole number"),
        (("--tls-min-version=1.1",), {}, "--tls-min-version '1.1' must be 1.3 or 1.2; older versions are not spoken"),
        (("--log-level=loud",), {}, "--log-level 'loud' must be empty, info, debug, trace or all"),
        (("--metrics-backend=x",), {}, "--metrics-backend 'x' must be 'prometheus'"),
        (("--health-addr=9440",), {}, "--health-addr '9440' must be \":PORT\""),
        (("--health-addr=:99999",), {}, "--health-addr ':99999' must be \":PORT\""),
        (("--opt-in=pods",), {}, "--opt-in 'pods' must be 'pod-label', 'namespace-label' or"),
        (("--opt-in=",), {}, "--opt-in must name at least one of"),
        (("--service-account-token-expiration=60",), {}, "must be greater than or equal to 3600"),
        (("--proxy-cpu-limit=lots",), {}, "--proxy-cpu-limit 'lots' must be a quantity such as 50m or 64Mi"),
        (("--proxy-memory-request=1Gi",), {}, "--proxy-memory-request 1Gi is above --proxy-memory-limit 64Mi"),
        (("--proxy-https-proxy=proxy:3128",), {}, "must be http://HOST:PORT or https://HOST:PORT"),
        (("--proxy-https-proxy=http://proxy/path",), {}, "must be http://HOST:PORT or https://HOST:PORT"),
        (("--proxy-https-proxy=http://$(HOST):3128",), {}, "must be http://HOST:PORT or https://HOST:PORT"),
        (("--proxy-https-proxy=http://proxy:70000",), {}, "--proxy-https-proxy 'http://proxy:70000' port out of range"),
        (("--proxy-https-proxy=http://proxy:0",), {}, "must be http://HOST:PORT"),
        (("--proxy-no-proxy=a,b c",), {}, "--proxy-no-proxy 'b c' must be a domain, an address, a range"),
        (("--proxy-ca-configmap=A/B",), {}, "--proxy-ca-configmap 'A/B' must be the name of an object"),
        (
            ("--proxy-pass-through=/metadata/instance",),
            {},
            "v1.6.0's, mcr.microsoft.com/oss/azure/workload-identity/proxy:v1.6.0, would not start; set PROXY_IMAGE",
        ),
        (
            ("--proxy-pass-through=/metadata/instance",),
            {"PROXY_IMAGE": "mirror.test/oss/azure/workload-identity/proxy@sha256:0"},
            "--proxy-pass-through needs this project's proxy",
        ),
        (("--no-such-flag",), {}, "unrecognized arguments: --no-such-flag; see azwi-webhook --help"),
        (("extra",), {}, "unrecognized arguments: extra"),
        (("--audience",), {}, "argument --audience: expected one argument"),
        (("--disable-cert-rotation=maybe",), {}, "--disable-cert-rotation 'maybe' must be true or false"),
        (ENDPOINT[:1], ENDPOINT_URL, "--custom-token-endpoint-audience go together: set both"),
        (ENDPOINT[1:], ENDPOINT_URL, "--custom-token-endpoint-audience go together: set both"),
        (ENDPOINT, {}, "AZURE_KUBERNETES_TOKEN_PROXY must be the URL of the custom token endpoint"),
        (
            (ENDPOINT[0], "--custom-token-endpoint-audience=API://azureadtokenexchange"),
            ENDPOINT_URL,
            "must differ from the default audience",
        ),
        (
            ("--custom-token-endpoint-annotation-suffix=a b", ENDPOINT[1]),
            ENDPOINT_URL,
            "azure.workload.identity/use-a b is no annotation key",
        ),
        (
            ENDPOINT,
            {**ENDPOINT_URL, "AZURE_KUBERNETES_CA_DATA": "x", "AZURE_KUBERNETES_CA_CONFIGMAP_NAME": "y"},
            "only one of AZURE_KUBERNETES_CA_DATA, AZURE_KUBERNETES_CA_CONFIGMAP_NAME and",
        ),
        (
            ENDPOINT,
            {**ENDPOINT_URL, "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR": "{}"},
            "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR needs AZURE_KUBERNETES_CA_CTB_SIGNER_NAME",
        ),
        (
            ENDPOINT,
            {**ENDPOINT_URL, "AZURE_KUBERNETES_CA_CTB_SIGNER_NAME": "s", "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR": "x"},
            "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR 'x' invalid JSON",
        ),
        (ENDPOINT, {"AZURE_KUBERNETES_TOKEN_PROXY": "https://me:pw@x/"}, "must be an https URL without user"),
    ],
)
def test_refused_settings(flags: tuple[str, ...], environment: dict[str, str], message: str) -> None:
    """What cannot be used is refused with a sentence that names the setting and what it must be."""
    assert message in refusal(*flags, **environment)


def test_secrets_in_urls_are_not_repeated() -> None:
    """A URL with a password is refused without the password being printed."""
    message = refusal(*ENDPOINT, **{names.ENV_TOKEN_PROXY: "https://me:hunter2@x/"})
    assert "hunter2" not in message


def test_passwords_of_http_proxies_are_not_repeated() -> None:
    """An HTTP proxy with a password, which would be in every pod, is refused without the password being printed."""
    message = refusal("--proxy-https-proxy=http://me:hunter2@proxy:3128")
    assert "without a password" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("url", ["http://proxy", "https://proxy.test:3128/", "http://10.0.0.1:8080", "http://[::1]:80"])
def test_http_proxies(url: str) -> None:
    """An HTTP proxy is a host and a port, with or without TLS, and the injected proxy takes it as it is."""
    assert settings(f"--proxy-https-proxy={url}").proxy_https_proxy == url
    assert proxy_for(Origin("https", "login.test", 443, ""), {"HTTPS_PROXY": url})


@pytest.mark.parametrize(
    ("path", "taken"),
    [
        ("/metadata/instance", True),
        ("/metadata/instance/compute/tagsList", True),
        ("/metadata/instance/", True),
        ("/metadata/attested/document", True),
        ("/metadata/identityprovider", True),
        ("/metadata", False),
        ("/metadata/", False),
        ("/metadata//instance", False),
        ("/metadata/identity", False),
        ("/metadata/identity/", False),
        ("/metadata/Identity/oauth2/token", False),
        ("/metadata/instance/../identity", False),
        ("/metadata/./identity", False),
        ("/metadata/%69dentity", False),
        ("/metadata/$(PATH)", False),
        ("/other", False),
        ("metadata/instance", False),
    ],
)
def test_passed_paths(path: str, *, taken: bool) -> None:
    """An IMDS path is taken if it is below /metadata and not the identity's; what is taken the injected proxy takes."""
    flag = f"--proxy-pass-through={path}"
    if not taken:
        assert "must be a path below /metadata" in refusal(flag, PROXY_IMAGE="azwi:1")
        return
    assert settings(flag, PROXY_IMAGE="azwi:1").proxy_pass_through == (path,)
    sidecar = proxy_settings.parse([f"--pass-through={path}"], {})
    assert proxy_settings.load(sidecar, {"AZURE_TENANT_ID": TENANT}).pass_through == (path.lower().rstrip("/"),)


def test_every_complaint_at_once() -> None:
    """Several invalid settings are all named, one a line."""
    assert len(refusal("--log-level=loud", AZURE_TENANT_ID="mine").splitlines()) == 2


def test_certificates_in_a_cluster() -> None:
    """In a cluster the server makes its own certificates unless it is set to serve a mounted one."""
    assert load([], ENVIRONMENT).self_managed
    assert not load(["--disable-cert-rotation"], ENVIRONMENT).self_managed
    assert not settings().self_managed


def test_lifetimes() -> None:
    """Lifetimes are durations as Go's flags take them."""
    short = settings("--ca-lifetime=12s", "--cert-lifetime=4s", "--drain-period=1m30s")
    assert (short.ca_lifetime, short.cert_lifetime) == (timedelta(seconds=12), timedelta(seconds=4))
    assert short.drain_period == timedelta(seconds=90)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--ca-lifetime=7s", "--cert-lifetime=4s"], "--ca-lifetime must be at least 2 times --cert-lifetime"),
        (["--cert-lifetime=90"], "--cert-lifetime '90' must be a duration such as 90s"),
        (["--cert-lifetime=0s"], "--cert-lifetime '0s'"),
        (["--drain-period=1h"], "--drain-period '1h'"),
        (["--cert-secret="], "--cert-secret must be set where the server makes its own certificates"),
        (["--cert-secret=A/B"], "--cert-secret 'A/B' must be the name of an object"),
        (["--cert-secret=a", "--upstream-cert-secret=a"], "--upstream-cert-secret and --cert-secret must differ"),
        (["--webhook-configurations="], "--webhook-configurations must be set"),
        (["--identity-mapping=x", "--identity-mapping-configmap=y"], "two places for one thing; set one of them"),
        (["--identity-mapping-configmap=y", FILES], "needs a cluster"),
    ],
)
def test_cluster_settings_that_contradict(flags: list[str], message: str) -> None:
    """What cannot be used in a cluster is refused with what to do."""
    with pytest.raises(SettingsError, match=re.escape(message)):
        load(flags, ENVIRONMENT)


def test_every_setting_has_a_source() -> None:
    """Every setting has a flag or a variable, and a help text."""
    assert SOURCES.keys() == Settings.model_fields.keys()
    assert all((source.flag or source.env) and source.help for source in SOURCES.values())


def test_v160_names() -> None:
    """Each flag and variable of v1.6.0 is there."""
    flags = {source.flag for source in SOURCES.values()}
    variables = {source.env for source in SOURCES.values()}
    assert flags >= {
        "audience",
        "webhook-cert-dir",
        "disable-cert-rotation",
        "tls-min-version",
        "health-addr",
        "metrics-addr",
        "metrics-backend",
        "log-level",
        "custom-token-endpoint-annotation-suffix",
        "custom-token-endpoint-audience",
        "kubeconfig",
    }
    assert variables >= {
        "AZURE_ENVIRONMENT",
        "AZURE_TENANT_ID",
        "PROXY_IMAGE",
        "PROXY_INIT_IMAGE",
        "POD_NAMESPACE",
        "KUBECONFIG",
        names.ENV_TOKEN_PROXY,
        names.ENV_TOKEN_PROXY_SNI,
        names.ENV_TOKEN_PROXY_CA_DATA,
        "AZURE_KUBERNETES_CA_CONFIGMAP_NAME",
        "AZURE_KUBERNETES_CA_CTB_SIGNER_NAME",
        "AZURE_KUBERNETES_CA_CTB_LABEL_SELECTOR",
    }
