"""The administrator's settings as the first variables of every policy: the only text that differs between clusters."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from webhook.admission.identity import MappingEntry
from webhook.admission.policy import CustomEndpoint, Policy, ProxySettings
from webhook.admission_policy.cel import Variable

# As Go escapes them in JSON.
_ESCAPED: Final = "<>&\u2028\u2029"
_GLOB: Final = {"*": ".*", "?": "."}
_EMPTY_ENDPOINT: Final = CustomEndpoint("", "", "")


def settings_variables(policy: Policy) -> list[Variable]:
    """The variables of an installation's settings."""
    endpoint = policy.custom_endpoint or _EMPTY_ENDPOINT
    entries = policy.mapping.entries
    selector = endpoint.ca_bundle.label_selector if endpoint.ca_bundle else None
    values: list[tuple[str, str, object]] = [
        ("optIn", "How pods opt in.", sorted(policy.opt_in)),
        ("audience", "The audience of tokens.", policy.audience),
        ("defaultSecondAudience", "The audience of a second token, empty for none.", policy.second_audience),
        ("defaultTenantId", "The tenant of pods whose ServiceAccount names none.", policy.identity.tenant_id),
        ("defaultExpiration", "The token's lifetime in seconds.", policy.identity.token_expiration),
        ("authorityHost", "The login endpoint.", policy.authority_host),
        (
            "mappedAccounts",
            "The identity mapping: ServiceAccounts by namespace and name.",
            {
                f"{entry.namespace}/{entry.service_account}": _identity(entry)
                for entry in reversed(entries)
                if entry.is_exact
            },
        ),
        (
            "mappedPatterns",
            "The identity mapping: patterns, the most specific one first.",
            [_pattern(entry) for entry in entries if not entry.is_exact],
        ),
        ("endpoint", "The custom token endpoint, if there is one.", _endpoint(endpoint)),
        (
            "endpointCaSelector",
            "Which of its signer's ClusterTrustBundles: one selector, or none for all.",
            [] if selector is None else [_Dynamic(selector)],
        ),
        ("proxy", "The proxy sidecar.", dict(_proxy(policy.proxy))),
        ("proxyIsNative", "Whether it is a native sidecar.", policy.proxy.native),
        ("proxyUidIsAssigned", "Whether the cluster assigns its uid.", policy.proxy.assigned_uid),
    ]
    return [Variable(name, comment, as_json(value)) for name, comment, value in values]


@dataclass(frozen=True, slots=True)
class _Dynamic:
    """A value whose members have several types."""

    value: object


def as_json(value: object) -> str:
    """Write a value as JSON, which CEL reads, too; as Helm's toJson writes it."""
    if isinstance(value, list) and value and isinstance(value[0], _Dynamic):
        return f"[{_dynamic(value[0].value)}]"
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for character in _ESCAPED:
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _dynamic(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{as_json(key)}:dyn({_dynamic(value[key])})" for key in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(f"dyn({_dynamic(member)})" for member in value) + "]"
    return as_json(value)


def _identity(entry: MappingEntry) -> Mapping[str, str]:
    return {
        "clientId": entry.client_id,
        "tenantId": entry.tenant_id,
        "tokenExpiration": "" if entry.token_expiration is None else str(entry.token_expiration),
    }


def _pattern(entry: MappingEntry) -> Mapping[str, str]:
    return {
        "namespace": regular_expression(entry.namespace),
        "serviceAccount": regular_expression(entry.service_account),
        **_identity(entry),
    }


def regular_expression(pattern: str) -> str:
    """A pattern of the identity mapping as a regular expression (RE2)."""
    return "^" + "".join(_parts(pattern)) + "$"


def _parts(pattern: str) -> Iterator[str]:
    position = 0
    while position < len(pattern):
        character = pattern[position]
        # As in fnmatch: a bracket that opens no set is itself, and one that follows it directly is a member.
        end = pattern.find("]", position + (3 if pattern[position + 1 : position + 2] == "!" else 2))
        if character == "[" and end > 0:
            inside = pattern[position + 1 : end].replace("\\", "\\\\")
            yield "[" + ("^" + inside[1:] if inside.startswith("!") else inside) + "]"
            position = end
        else:
            yield _GLOB.get(character, character if character.isalnum() or character == "-" else "\\" + character)
        position += 1


def _endpoint(endpoint: CustomEndpoint) -> Mapping[str, str]:
    return {
        "annotation": endpoint.annotation,
        "audience": endpoint.audience,
        "url": endpoint.url,
        "sniName": endpoint.sni_name,
        "caData": endpoint.ca_data,
        "caConfigMap": endpoint.ca_configmap,
        "caSigner": endpoint.ca_bundle.signer_name if endpoint.ca_bundle else "",
    }


def _proxy(proxy: ProxySettings) -> Iterator[tuple[str, str]]:
    yield "image", proxy.image
    yield "initImage", proxy.init_image
    yield "logLevel", proxy.log_level
    yield "httpsProxy", proxy.https_proxy
    yield "noProxy", proxy.no_proxy
    yield "caConfigMap", proxy.ca_configmap
    yield "passThrough", proxy.pass_through
    yield "cpu_request", proxy.resources.cpu_request
    yield "memory_request", proxy.resources.memory_request
    yield "cpu_limit", proxy.resources.cpu_limit
    yield "memory_limit", proxy.resources.memory_limit
