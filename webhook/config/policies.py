"""Builds admission's policy from the settings."""

from azure_workload_identity import names
from webhook.admission.identity import Defaults, IdentityMapping
from webhook.admission.policy import CustomEndpoint, Policy, ProxySettings, Resources, TrustBundle
from webhook.config.settings import PROXY_IMAGE, PROXY_INIT_IMAGE, Settings

# Native sidecars are on by default from here on (KEP-753).
NATIVE_SIDECARS_SINCE = (1, 29)


def build(settings: Settings, mapping: IdentityMapping, cluster_version: tuple[int, int] | None) -> Policy:
    """Build the policy; a cluster of unknown version counts as a new one."""
    return Policy(
        identity=Defaults(settings.tenant_id, settings.token_expiration),
        authority_host=settings.authority_host or names.AUTHORITY_HOSTS[settings.cloud.lower()],
        proxy=_proxy(settings, cluster_version),
        audience=settings.audience or names.DEFAULT_AUDIENCE,
        second_audience=settings.second_audience,
        opt_in=settings.opt_in,
        mapping=mapping,
        custom_endpoint=_custom_endpoint(settings),
    )


def _proxy(settings: Settings, cluster_version: tuple[int, int] | None) -> ProxySettings:
    native = cluster_version is None or cluster_version >= NATIVE_SIDECARS_SINCE
    # The default images are a pair; another image does both.
    default_init = PROXY_INIT_IMAGE if settings.proxy_image == PROXY_IMAGE else ""
    return ProxySettings(
        image=settings.proxy_image,
        init_image=settings.proxy_init_image or default_init,
        native={"auto": native, "always": True, "never": False}[settings.native_sidecars],
        log_level=settings.log_level or "info",
        https_proxy=settings.proxy_https_proxy,
        no_proxy=",".join(settings.proxy_no_proxy),
        ca_configmap=settings.proxy_ca_configmap,
        pass_through=",".join(settings.proxy_pass_through),
        assigned_uid=settings.proxy_uid == "assigned",
        resources=Resources(
            cpu_request=settings.proxy_cpu_request,
            memory_request=settings.proxy_memory_request,
            cpu_limit=settings.proxy_cpu_limit,
            memory_limit=settings.proxy_memory_limit,
        ),
    )


def _custom_endpoint(settings: Settings) -> CustomEndpoint | None:
    if not settings.endpoint_suffix:
        return None
    bundle = None
    if settings.endpoint_ca_signer:
        bundle = TrustBundle(settings.endpoint_ca_signer, settings.endpoint_ca_selector)
    return CustomEndpoint(
        annotation=names.CUSTOM_ENDPOINT_PREFIX + settings.endpoint_suffix,
        audience=settings.endpoint_audience,
        url=settings.endpoint_url,
        sni_name=settings.endpoint_sni_name,
        ca_data=settings.endpoint_ca_data,
        ca_configmap=settings.endpoint_ca_configmap,
        ca_bundle=bundle,
    )
