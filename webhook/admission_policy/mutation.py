"""The JSON patch: variables, mounts, volumes, and the proxy's containers, in the order of the webhook's."""

from dataclasses import replace
from textwrap import indent
from typing import Final, cast

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission import fragments, values
from webhook.admission.identity import Identity
from webhook.admission.layout import ONE_VOLUME, TWO_VOLUMES, TokenMount, TokenVolume
from webhook.admission.policy import CustomEndpoint, Resources, TrustBundle
from webhook.admission.proxy import ProxyMode, ProxyPlan
from webhook.admission_policy.cel import Variable, cel, code, literal, variable
from webhook.admission_policy.refusals import MARK

_IDENTITY: Final = Identity(
    code("variables.clientId"), code("variables.tenantId"), cast("int", code("variables.expiration"))
)
_AUTHORITY: Final = code("variables.authorityHost")
_ENDPOINT: Final = CustomEndpoint(
    annotation="",
    audience=code("variables.firstAudience"),
    url=code("variables.endpoint.url"),
    sni_name=code("variables.endpoint.sniName"),
    ca_data=code("variables.endpoint.caData"),
    ca_configmap=code("variables.endpoint.caConfigMap"),
)
_BUNDLE: Final = TrustBundle(code("variables.endpoint.caSigner"))
_ANY_BUNDLE: Final = replace(_ENDPOINT, ca_bundle=_BUNDLE)
_SELECTED_BUNDLE: Final = replace(
    _ENDPOINT, ca_bundle=replace(_BUNDLE, label_selector=cast("JsonObject", code("variables.endpointCaSelector[0]")))
)


def _mount(place: str) -> TokenMount:
    return TokenMount(code(f"{place}.volume"), code(f"{place}.directory"), code(f"{place}.token"))


def _environment(token: str, second: str) -> str:
    """The identity's variables, those without a value left out, where `token` and `second` are mounts of variables."""
    own = fragments.identity_variables(_IDENTITY, _AUTHORITY, _mount(token), None, _mount(second))
    every = fragments.identity_variables(_IDENTITY, _AUTHORITY, _mount(token), _ENDPOINT, _mount(second))
    conditions = {
        names.ENV_SECOND_TOKEN_FILE: "variables.secondAudience == ''",
        names.ENV_TOKEN_PROXY_CA_FILE: "variables.endpoint.caConfigMap == '' && variables.endpoint.caSigner == ''",
    }
    conditional = {
        name: code(f"{conditions[name]} ? '' : {literal(value)}") if name in conditions else value
        for name, value in every.items()
    }
    first = _lines(fragments.as_env({name: value for name, value in conditional.items() if name in own}))
    further = _lines(fragments.as_env({name: value for name, value in conditional.items() if name not in own}))
    return f"({first}\n+ (variables.usesEndpoint ? {further} : [])\n).filter(entry, entry.value != '')"


def _lines(items: list[JsonObject]) -> str:
    """A list with one item a line."""
    return "[\n" + indent(",\n".join(map(literal, items)), "  ") + "\n]"


def _volume(wanted: TokenVolume) -> str:
    """A volume's name and its sources: those that every pod has, and those by what it asks for."""
    any_bundle, selected_bundle = (
        fragments.volume(
            wanted, _IDENTITY, "", endpoint, code("variables.proxy.caConfigMap"), code("variables.secondAudience")
        )["projected"]["sources"]
        for endpoint in (_ANY_BUNDLE, _SELECTED_BUNDLE)
    )
    parts = []
    for source, selected in zip(any_bundle, selected_bundle, strict=True):
        written = literal(source)
        if source != selected:
            written = f"variables.endpointCaSelector.size() == 0 ? {written} : {literal(selected)}"
        condition = _condition(source)
        parts.append(f"({condition} ? [{written}] : [])" if condition else f"[{written}]")
    return f"{{'name': dyn('{wanted.name}'), 'sources': dyn(\n  " + "\n  + ".join(parts) + "\n)}"


def _condition(source: JsonObject) -> str:
    """When a volume has a source, empty for always."""
    if token := source.get("serviceAccountToken"):
        return "variables.secondAudience != ''" if token["path"] == names.SECOND_TOKEN_FILE else ""
    if "clusterTrustBundle" in source:
        return "variables.usesEndpoint && variables.endpoint.caSigner != ''"
    if source["configMap"]["items"][0]["path"] == names.CA_FILE:
        return "variables.usesEndpoint && variables.endpoint.caConfigMap != ''"
    return "variables.getsProxy && variables.proxy.caConfigMap != ''"


_CA_ITEMS: Final = [[{"key": names.CA_CONFIGMAP_KEY, "path": path}] for path in (names.CA_FILE, names.PROXY_CA_FILE)]
_REDIRECTION: Final = fragments.as_env(
    fragments.environment_mode_variables(
        ProxyPlan(ProxyMode.ENVIRONMENT, cast("int", code("string(variables.proxyPort)")), Resources())
    )
)

REQUEST: Final[tuple[Variable, ...]] = (
    variable(
        "usesEndpoint",
        "Whether the pod's token is for the custom token endpoint.",
        """
        variables.endpoint.annotation != ''
        && variables.annotations[?variables.endpoint.annotation].orValue('').lowerAscii() in @TRUE
        """,
        TRUE=values.TRUE,
    ),
    variable(
        "firstAudience",
        "The audience of the pod's token.",
        "variables.usesEndpoint ? variables.endpoint.audience : variables.audience",
    ),
    variable(
        "secondAudience",
        "The audience of its second token, empty for none.",
        """
        variables.isUsual && variables.defaultSecondAudience == '' ? ''
        : [variables.annotations[?@SECOND_AUDIENCE].orValue(variables.defaultSecondAudience)]
        .map(audience, audience == variables.firstAudience ? '' : audience)[0]
        """,
    ),
)

VOLUMES: Final[tuple[Variable, ...]] = (
    variable(
        "wantedVolumes",
        "The volumes of the token, with their sources.",
        """
        variables.isFormerLayout ? [@ONE_VOLUME]
        : variables.upstreamVolume != '' ? (variables.needsSecondVolume ? [@SECOND] : [])
        : [@FIRST, @SECOND]
        """,
        ONE_VOLUME=code(_volume(ONE_VOLUME.volumes[0])),
        FIRST=code(_volume(TWO_VOLUMES.volumes[0])),
        SECOND=code(_volume(TWO_VOLUMES.volumes[1])),
    ),
    variable(
        "outdatedVolumes",
        "The names of those that the pod has with other sources.",
        """
        variables.isUsual ? [] : variables.wantedVolumes.filter(
          wanted,
          variables.volumes.exists(
            volume,
            volume.name == wanted.name
            && !wanted.sources.all(source, source in volume.?projected.?sources.orValue([]))
          )
        ).map(wanted, wanted.name)
        """,
    ),
    variable(
        "foreignVolumes",
        "The names of those that are the user's own volumes.",
        """
        variables.volumes.filter(
          volume,
          volume.name in variables.outdatedVolumes && (
            volume.?projected.?sources.orValue([]).size() == 0
            || !volume.projected.sources.all(
              source,
              source.size() == 1 && (
                source.?serviceAccountToken.?path.orValue('') in @TOKENS
                || source.?configMap.?items.orValue([]) in @CA_ITEMS
                || source.?clusterTrustBundle.?path.orValue('') == @CA_FILE
              )
            )
          )
        ).map(volume, volume.name)
        """,
        TOKENS=sorted({names.TOKEN_FILE, names.V160_TOKEN_FILE, names.SECOND_TOKEN_FILE}),
        CA_ITEMS=_CA_ITEMS,
    ),
)

ENVIRONMENT: Final[tuple[Variable, ...]] = (
    variable(
        "usualSecond",
        "The mount with the second token in most containers.",
        """
        (variables.mounts.filter(place, place.volume == variables.fallback.volume) + [variables.fallback])[0]
        """,
    ),
    variable(
        "usualEnvironment",
        "The variables of most containers.",
        "@ENVIRONMENT",
        ENVIRONMENT=code(_environment("variables.preferred", "variables.usualSecond")),
    ),
    variable(
        "tokens",
        "For each container that gets the identity, the mount whose token its variable names.",
        """
        variables.places.map(
          places,
          places.exists(place, place.directory == variables.preferred.directory)
          ? variables.preferred : (places + [variables.fallback])[0]
        )
        """,
    ),
    variable(
        "seconds",
        "For each of them, the mount with the second token.",
        """
        variables.places.map(
          places,
          (places.filter(place, place.volume == variables.fallback.volume) + [variables.fallback])[0]
        )
        """,
    ),
    variable(
        "environments",
        "For each of them, the variables that it should have.",
        """
        variables.targets.transformList(
          index, target,
          (
            variables.tokens[index] == variables.preferred && variables.seconds[index] == variables.usualSecond
            ? variables.usualEnvironment
            : @ENVIRONMENT
          ) + (
            variables.getsProxy && variables.proxyMode == @MODE && target.container.name != @PROXY_CONTAINER
            ? @REDIRECTION : []
          )
        )
        """,
        ENVIRONMENT=code(_environment("variables.tokens[index]", "variables.seconds[index]")),
        MODE=str(ProxyMode.ENVIRONMENT),
        REDIRECTION=_REDIRECTION,
    ),
    variable(
        "missingVariables",
        "For each of them, the variables that it lacks. A CA of its own replaces the endpoint's, as file or as data.",
        """
        variables.isUsual ? variables.targets.map(target, variables.usualEnvironment)
        : variables.environments.transformList(
          index, wanted,
          variables.ownVariables[index].size() == 0 ? wanted : wanted.filter(
            entry,
            !variables.ownVariables[index].exists(
              own, own.name == entry.name || (own.name in @CAS && entry.name in @CAS)
            )
          )
        )
        """,
        CAS=names.ENV_TOKEN_PROXY_CAS,
    ),
    variable(
        "missingMounts",
        "For each of them, the mounts of the token that it lacks.",
        """
        variables.isUsual ? variables.targets.map(target, variables.mounts.map(place, @MOUNT))
        : variables.places.transformList(
          index, places, places.filter(place, !(place.directory in variables.present[index])).map(place, @MOUNT)
        )
        """,
        MOUNT=fragments.mount(_mount("place")),
    ),
)

# A list of typed objects, Object.spec.volumes{...}, as one value makes the API server (1.36.3) panic; one of maps not.
PATCH: Final = cel(
    """
    !variables.takesPart ? []
    // The policy that refuses reads the reason.
    : variables.refusals.size() > 0 ? @MARK
    : variables.selected.size() == 0 && !variables.getsProxy ? [] : (
      // Variables come first, since Kubernetes expands $(AZURE_CLIENT_ID) only in those after it.
      variables.targets.transformList(
        index, target,
        (
          variables.missingVariables[index].size() > 0 && target.container.?env.orValue([]).size() == 0
          ? [JSONPatch{op: 'add', path: target.pointer + '/env', value: variables.missingVariables[index]}]
          : variables.missingVariables[index].reverse().map(
            entry, JSONPatch{op: 'add', path: target.pointer + '/env/0', value: entry}
          )
        )
        + (
          variables.missingMounts[index].size() > 0 && target.container.?volumeMounts.orValue([]).size() == 0
          ? [JSONPatch{op: 'add', path: target.pointer + '/volumeMounts', value: variables.missingMounts[index]}]
          : variables.missingMounts[index].map(
            mount, JSONPatch{op: 'add', path: target.pointer + '/volumeMounts/-', value: mount}
          )
        )
      ).flatten()
      // The volumes: those of other settings are replaced, those that are missing added.
      + variables.volumes.transformList(
        index, volume,
        volume.name in variables.outdatedVolumes && !(volume.name in variables.foreignVolumes),
        JSONPatch{
          op: 'replace', path: '/spec/volumes/' + string(index),
          value: {
            'name': dyn(volume.name),
            'projected': dyn({
              'defaultMode': dyn(@MODE),
              'sources': dyn(variables.wantedVolumes.filter(wanted, wanted.name == volume.name)[0].sources)
            })
          }
        }
      )
      + (
        variables.wantedVolumes.size() > 0 && variables.volumes.size() == 0
        ? [JSONPatch{op: 'add', path: '/spec/volumes', value: []}] : []
      )
      + variables.wantedVolumes.filter(
        wanted, !variables.volumes.exists(volume, volume.name == wanted.name)
      ).map(
        wanted,
        JSONPatch{
          op: 'add', path: '/spec/volumes/-',
          value: {
            'name': dyn(wanted.name),
            'projected': dyn({'defaultMode': dyn(@MODE), 'sources': dyn(wanted.sources)})
          }
        }
      )
      // Containers are added last: until then the pointers above refer to the pod as it came.
      + (
        variables.proxyContainers.size() > 0 && !(@DEFAULT_CONTAINER in variables.annotations)
        ? [JSONPatch{
          op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey(@DEFAULT_CONTAINER),
          value: object.spec.containers[0].name
        }] : []
      )
      + variables.proxyContainers.map(own, JSONPatch{op: 'add', path: '/spec/containers/0', value: own})
      + (
        variables.proxyInitContainers.size() > 0 && !has(object.spec.initContainers)
        ? [JSONPatch{op: 'add', path: '/spec/initContainers', value: []}] : []
      )
      + variables.proxyInitContainers.transformList(
        index, own, JSONPatch{op: 'add', path: '/spec/initContainers/' + string(index), value: own}
      )
    )
    """,
    MODE=fragments.VOLUME_MODE,
    MARK=code(MARK),
)
