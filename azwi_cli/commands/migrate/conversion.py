"""Values of v1.6.0's chart as values of this chart. What both understand alike stays as it is."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

from azure_workload_identity.types import JsonObject


class LeftOut(NamedTuple):
    """A value that is not taken along: its path, and why."""

    path: str
    reason: str


# The values of v1.6.0's chart; those of maps are listed where not all of them are the user's own.
KNOWN: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(
        (
            *("affinity", "azureEnvironment", "azureTenantID", "extraEnv", "extraVolumeMounts", "extraVolumes"),
            *("imagePullSecrets", "logLevel", "metricsAddr", "metricsBackend", "mutatingWebhookAnnotations"),
            *(
                "mutatingWebhookNamespaceSelector",
                "nameOverride",
                "nodeSelector",
                "podAnnotations",
                "podLabels",
                "priorityClassName",
            ),
            *("replicaCount", "resources", "revisionHistoryLimit", "tolerations", "topologySpreadConstraints"),
        ),
        frozenset[str](),
    ),
    "image": frozenset({"repository", "pullPolicy", "release"}),
    "service": frozenset({"type", "port", "targetPort"}),
    "podDisruptionBudget": frozenset({"minAvailable", "maxUnavailable"}),
    "customTokenEndpoint": frozenset(
        {
            *("annotationSuffix", "audience", "azureKubernetesTokenProxy", "azureKubernetesSniName"),
            *("azureKubernetesCaData", "azureKubernetesCAConfigMapName", "azureKubernetesCACTBSignerName"),
            "azureKubernetesCACTBLabelSelector",
        }
    ),
}
UNKNOWN: Final = "v1.6.0's chart has no such value"
LOG_LEVELS: Final = ("", "info", "debug", "trace", "all")
# v1.6.0 does not distinguish case.
CLOUDS: Final = {
    name.lower(): name
    for name in (
        *("AzurePublicCloud", "AzureUSGovernmentCloud", "AzureChinaCloud", "AzureGermanCloud"),
        *("AzureCloud", "AzureUSGovernment"),
    )
}
ENDPOINT: Final = ("annotationSuffix", "audience", "azureKubernetesTokenProxy")
OWN_VARIABLES: Final = frozenset(
    {"POD_NAMESPACE", "AZURE_TENANT_ID", "AZURE_ENVIRONMENT", "AZURE_AUTHORITY_HOST", "PROXY_IMAGE", "PROXY_INIT_IMAGE"}
    | {"WEBHOOK_PORT"}
)
MIN_MEMORY_MEBIBYTES: Final = 96
# What `helm get values` prints above the values without -o yaml.
HEADING: Final = "USER-SUPPLIED VALUES"


def convert(theirs: JsonObject, *, in_place: bool = False) -> tuple[JsonObject, list[LeftOut]]:
    """Values of this chart, and what of `theirs` has no meaning in it or would be refused."""
    values: JsonObject = {key: value for key, value in theirs.items() if value is not None and key != HEADING}
    left_out = [*_full_name(values), *_remove_unknown(values)]
    for rule in RULES:
        left_out += rule(values)
    values = {key: value for key, value in values.items() if not (key in KNOWN and KNOWN[key] and value == {})}
    return ({**values, "upstreamNames": True} if in_place else values), left_out


def _remove_unknown(values: JsonObject) -> Iterator[LeftOut]:
    for key in list(values):
        if key not in KNOWN:
            del values[key]
            yield LeftOut(key, UNKNOWN)
        elif KNOWN[key] and isinstance(values[key], dict):
            known = {inner: value for inner, value in values[key].items() if inner in KNOWN[key] and value is not None}
            yield from (LeftOut(f"{key}.{inner}", UNKNOWN) for inner in values[key] if inner not in KNOWN[key])
            values[key] = known


def _pop(values: JsonObject, path: str, reason: str) -> Iterator[LeftOut]:
    outer, _, inner = path.partition(".")
    holder = values.get(outer, {}) if inner else values
    if isinstance(holder, dict) and holder.pop(inner or outer, None) is not None:
        yield LeftOut(path, reason)


def _image(values: JsonObject) -> Iterator[LeftOut]:
    reason = "it names the original's image; set image.registry to where this project's image is"
    yield from _pop(values, "image.repository", reason)
    yield from _pop(values, "image.release", "it is a version of the original")


def _resources(values: JsonObject) -> Iterator[LeftOut]:
    limits = (values.get("resources") or {}).get("limits") or {}
    memory = re.fullmatch(r"(\d{1,6})Mi", str(limits.get("memory", "")))
    if memory and int(memory[1]) < MIN_MEMORY_MEBIBYTES:
        yield from _pop(values, "resources", f"{memory[0]} of memory are too few for this server; the default fits")


def _log_level(values: JsonObject) -> Iterator[LeftOut]:
    if values.get("logLevel", "") not in LOG_LEVELS:
        yield from _pop(values, "logLevel", f"it is none of {', '.join(filter(None, LOG_LEVELS))}")


def _cloud(values: JsonObject) -> Iterator[LeftOut]:
    cloud = str(values.get("azureEnvironment", "")).lower()
    if cloud in CLOUDS:
        values["azureEnvironment"] = CLOUDS[cloud]
    elif cloud:
        yield from _pop(values, "azureEnvironment", "it is not a cloud; set azureAuthorityHost to its login endpoint")


def _full_name(values: JsonObject) -> Iterator[LeftOut]:
    yield from _pop(values, "fullnameOverride", "it was without effect in v1.6.0, and has one here")


def _service(values: JsonObject) -> Iterator[LeftOut]:
    for name, default in (("port", 443), ("targetPort", 9443)):
        if (values.get("service") or {}).get(name) not in (None, default):
            yield from _pop(values, f"service.{name}", "it was without effect in v1.6.0, and has one here")


def _budget(values: JsonObject) -> Iterator[LeftOut]:
    budget = values.get("podDisruptionBudget") or {}
    if budget.get("maxUnavailable") in (0, "0", "0%"):
        yield from _pop(values, "podDisruptionBudget.maxUnavailable", "it would block every drain of a node")
    least, replicas = budget.get("minAvailable"), values.get("replicaCount", 2)
    if "maxUnavailable" in budget:
        yield from _pop(values, "podDisruptionBudget.minAvailable", "maxUnavailable excludes it")
    elif least == "100%" or (isinstance(least, int) and isinstance(replicas, int) and least >= replicas):
        reason = f"with {replicas} replica(s) it would block every drain of a node"
        yield from _pop(values, "podDisruptionBudget.minAvailable", reason)


def _history(values: JsonObject) -> Iterator[LeftOut]:
    if values.get("revisionHistoryLimit") == 0:
        yield from _pop(values, "revisionHistoryLimit", "v1.6.0 takes 0 as not set, and here it keeps no revision")


def _endpoint(values: JsonObject) -> Iterator[LeftOut]:
    endpoint = values.get("customTokenEndpoint") or {}
    lacking = [name for name in ENDPOINT if not endpoint.get(name)]
    if any(endpoint.values()) and lacking:
        reason = f"it has no {' and no '.join(lacking)}, without which no pod gets a token"
        yield from _pop(values, "customTokenEndpoint", reason)


def _variables(values: JsonObject) -> Iterator[LeftOut]:
    variables = values.get("extraEnv") or []
    for name in [str(variable.get("name")) for variable in variables if isinstance(variable, dict)]:
        if name in OWN_VARIABLES or name.startswith("AZURE_KUBERNETES_"):
            values["extraEnv"] = [variable for variable in values["extraEnv"] if variable.get("name") != name]
            yield LeftOut(f"extraEnv {name}", "the chart sets this variable from a value of its own")


def _certificate_volume(values: JsonObject) -> Iterator[LeftOut]:
    for key, field, taken in (("extraVolumes", "name", "cert"), ("extraVolumeMounts", "mountPath", "/certs")):
        entries = values.get(key) or []
        if any(entry.get(field) == taken for entry in entries if isinstance(entry, dict)):
            values[key] = [entry for entry in entries if entry.get(field) != taken]
            yield LeftOut(f"{key} {taken}", "it belongs to the chart")


RULES: Final[tuple[Callable[[JsonObject], Iterator[LeftOut]], ...]] = (
    _image,
    _resources,
    _log_level,
    _cloud,
    _service,
    _budget,
    _history,
    _endpoint,
    _variables,
    _certificate_volume,
)
