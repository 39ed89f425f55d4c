"""The variables, mounts, volume and containers that a pod gets, as raw maps. Nothing here looks at the pod."""

from collections.abc import Mapping, Sequence
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.identity import Identity
from webhook.admission.layout import TokenMount, TokenVolume
from webhook.admission.policy import CustomEndpoint, ProxySettings, Resources
from webhook.admission.proxy import ProxyMode, ProxyPlan

# The API server's default: on a second pass the stored volume is then equal to the one that is wanted.
VOLUME_MODE: Final = 0o644
STARTUP_SECONDS: Final = 60


def identity_variables(
    identity: Identity,
    authority_host: str,
    token: TokenMount,
    endpoint: CustomEndpoint | None,
    second: TokenMount | None = None,
) -> Mapping[str, str]:
    """The variables that Azure SDKs read, in v1.6.0's order, empty ones left out; `second` has the second token.

    Of the endpoint's CA variables at most one: SDKs refuse AZURE_KUBERNETES_CA_FILE together with _CA_DATA.
    """
    variables = {
        names.ENV_CLIENT_ID: identity.client_id,
        names.ENV_TENANT_ID: identity.tenant_id,
        names.ENV_TOKEN_FILE: token.token_file,
        names.ENV_AUTHORITY_HOST: authority_host,
    }
    if second is not None:
        variables[names.ENV_SECOND_TOKEN_FILE] = f"{second.directory}/{names.SECOND_TOKEN_FILE}"
    if endpoint is not None:
        variables[names.ENV_TOKEN_PROXY] = endpoint.url
        variables[names.ENV_TOKEN_PROXY_SNI] = endpoint.sni_name
        variables[names.ENV_TOKEN_PROXY_CA_FILE] = f"{token.directory}/{names.CA_FILE}" if endpoint.has_ca_file else ""
        variables[names.ENV_TOKEN_PROXY_CA_DATA] = endpoint.ca_data
    return _without_empty(variables)


def environment_mode_variables(plan: ProxyPlan | None) -> Mapping[str, str]:
    """The variable that points managed-identity SDKs at the proxy, in the mode in which nothing redirects them."""
    if plan is None or plan.mode is not ProxyMode.ENVIRONMENT:
        return {}
    return {names.ENV_POD_IDENTITY_HOST: f"http://127.0.0.1:{plan.port}"}


def as_env(variables: Mapping[str, str]) -> list[JsonObject]:
    """Variables as a container's `env`."""
    return [{"name": name, "value": value} for name, value in variables.items()]


def mount(token: TokenMount) -> JsonObject:
    """A volume of the token at its directory, read-only."""
    return {"name": token.volume, "mountPath": token.directory, "readOnly": True}


def volume(
    wanted: TokenVolume,
    identity: Identity,
    audience: str,
    endpoint: CustomEndpoint | None,
    proxy_ca: str = "",
    second_audience: str = "",
) -> JsonObject:
    """A projected volume: the token, and the endpoint's CA where that is a file.

    An extended one also has the second token and the proxy's CA: `second_audience` is that token's audience, `proxy_ca`
    a ConfigMap in the pod's namespace, each empty for none. Token sources of equal audience and expiration share an
    entry of the kubelet's token cache.
    """
    first, seconds = endpoint.audience if endpoint else audience, identity.token_expiration
    sources = [_token(first, seconds, path) for path in wanted.tokens]
    if second_audience and wanted.extended:
        sources.append(_token(second_audience, seconds, names.SECOND_TOKEN_FILE))
    if endpoint is not None and endpoint.ca_configmap:
        sources.append(_configmap(endpoint.ca_configmap, names.CA_FILE))
    if endpoint is not None and endpoint.ca_bundle is not None:
        bundle: JsonObject = {"signerName": endpoint.ca_bundle.signer_name, "path": names.CA_FILE, "optional": False}
        if endpoint.ca_bundle.label_selector is not None:
            bundle["labelSelector"] = endpoint.ca_bundle.label_selector
        sources.append({"clusterTrustBundle": bundle})
    if proxy_ca and wanted.extended:
        sources.append(_configmap(proxy_ca, names.PROXY_CA_FILE))
    return {"name": wanted.name, "projected": {"defaultMode": VOLUME_MODE, "sources": sources}}


def _token(audience: str, seconds: int, path: str) -> JsonObject:
    return {"serviceAccountToken": {"audience": audience, "expirationSeconds": seconds, "path": path}}


def _configmap(name: str, path: str) -> JsonObject:
    """Not optional: without the CA the pod waits, and the kubelet's event names the missing ConfigMap."""
    return {"configMap": {"name": name, "items": _ca_items(path), "optional": False}}


def _ca_items(path: str) -> list[JsonObject]:
    return [{"key": names.CA_CONFIGMAP_KEY, "path": path}]


def has_sources(candidate: JsonObject, wanted: JsonObject) -> bool:
    """Whether a volume has every source of `wanted`; another webhook may have added sources."""
    sources = _sources(candidate)
    return all(source in sources for source in wanted["projected"]["sources"])


def is_ours(candidate: JsonObject) -> bool:
    """Whether `volume` made a volume, under any settings: then replacing it loses nothing of the user's."""
    sources = _sources(candidate)
    return bool(sources) and all(_is_our_source(source) for source in sources)


def _sources(candidate: JsonObject) -> list[object]:
    projected = candidate.get("projected")
    sources = projected.get("sources") if isinstance(projected, dict) else None
    return sources if isinstance(sources, list) else []


def _is_our_source(source: object) -> bool:
    if not isinstance(source, dict) or len(source) != 1:
        return False
    kind, detail = next(iter(source.items()))
    if not isinstance(detail, dict):
        return False
    if kind == "serviceAccountToken":
        return detail.get("path") in (names.TOKEN_FILE, names.V160_TOKEN_FILE, names.SECOND_TOKEN_FILE)
    if kind == "configMap":
        return detail.get("items") in (_ca_items(names.CA_FILE), _ca_items(names.PROXY_CA_FILE))
    return kind == "clusterTrustBundle" and detail.get("path") == names.CA_FILE


def proxy_container(
    plan: ProxyPlan, settings: ProxySettings, variables: Mapping[str, str], mounts: Sequence[TokenMount]
) -> JsonObject:
    """The sidecar. A native one is an init container that keeps running; its startup probe delays the next container.

    Its security context sets every field, so that nothing of the pod's applies: Pod Security `restricted` admits it,
    and its uid is the one that the redirect rules exempt.
    """
    arguments = [f"--proxy-port={plan.port}", f"--log-level={settings.log_level}"]
    probe = {"command": [names.PROXY_PROGRAM, arguments[0], "--probe", arguments[1]]}
    if settings.pass_through:
        arguments.append(f"--pass-through={settings.pass_through}")
    container: JsonObject = {
        "name": names.PROXY_CONTAINER,
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [names.PROXY_PROGRAM],
        "args": arguments,
        "ports": [{"containerPort": plan.port, "protocol": "TCP"}],
        "env": as_env({**variables, **_second_exchange_variables(plan), **_egress_variables(settings)}),
        "volumeMounts": [mount(token) for token in mounts],
        "resources": _resources(plan.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            **_proxy_uid(plan, settings),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if settings.native:
        container["restartPolicy"] = "Always"
        container["startupProbe"] = {
            "exec": probe,
            "periodSeconds": 1,
            "timeoutSeconds": 10,
            "failureThreshold": STARTUP_SECONDS,
        }
    else:
        container["lifecycle"] = {"postStart": {"exec": probe}}
    return container


def _proxy_uid(plan: ProxyPlan, settings: ProxySettings) -> Mapping[str, int]:
    if settings.assigned_uid and plan.mode is ProxyMode.ENVIRONMENT:
        return {}
    return {"runAsGroup": names.PROXY_UID, "runAsUser": names.PROXY_UID}


def _second_exchange_variables(plan: ProxyPlan) -> Mapping[str, str]:
    if plan.then is None:
        return {}
    return _without_empty(
        {
            names.ENV_PROXY_THEN_CLIENT_ID: plan.then.client_id,
            names.ENV_PROXY_THEN_TENANT_ID: plan.then.tenant_id,
        }
    )


def _egress_variables(settings: ProxySettings) -> Mapping[str, str]:
    bundle = f"{names.DOCUMENTED_DIRECTORY}/{names.PROXY_CA_FILE}" if settings.ca_configmap else ""
    return _without_empty(
        {
            names.ENV_HTTPS_PROXY: settings.https_proxy,
            names.ENV_NO_PROXY: settings.no_proxy,
            names.ENV_CERT_FILE: bundle,
        }
    )


def proxy_init_container(plan: ProxyPlan, settings: ProxySettings) -> JsonObject:
    """The container that writes the redirect rules: root with two capabilities, unprivileged, without the identity."""
    container: JsonObject = {
        "name": names.PROXY_INIT_CONTAINER,
        "image": settings.init_image or settings.image,
        "imagePullPolicy": "IfNotPresent",
        "env": as_env({names.ENV_PROXY_PORT: str(plan.port), names.ENV_XTABLES_LOCK: names.XTABLES_LOCK}),
        "resources": _resources(plan.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if not settings.init_image:
        container["command"] = [names.PROXY_PROGRAM, "init"]
    return container


def _resources(resources: Resources) -> JsonObject:
    requests = {"cpu": resources.cpu_request, "memory": resources.memory_request}
    limits = {"cpu": resources.cpu_limit, "memory": resources.memory_limit}
    both = {"requests": _without_empty(requests), "limits": _without_empty(limits)}
    return {kind: amounts for kind, amounts in both.items() if amounts}


def _without_empty(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
