"""What the pod's author is warned of: the webhook's codes and texts, in the webhook's order."""

from dataclasses import replace
from typing import Final

from azure_workload_identity import names
from webhook.admission import values
from webhook.admission.decision import POD_KEYS
from webhook.admission.identity import Account
from webhook.admission.misspellings import KNOWN, MAX_UNRECOGNIZED
from webhook.admission.mutation import RELEVANT, WITH_IDENTITY, WITH_PROXY
from webhook.admission.pod import Pod
from webhook.admission.policy import OptIn
from webhook.admission.proxy import ProxyMode
from webhook.admission.reasons import AdmissionWarning
from webhook.admission_policy.cel import Variable, cel, code, literal, variable
from webhook.admission_policy.messages import FIRST, sentences, text, warning
from webhook.admission_policy.provoked import (
    ACCOUNT,
    ACCOUNT_NAME,
    CLIENT_ID,
    CONTAINER,
    ENDPOINT,
    PROXY,
    pod,
    warnings,
)
from webhook.admission_policy.values import DOMAIN_PATTERN, UUID_PATTERN

_ACCOUNT: Final = {ACCOUNT_NAME: "params.metadata.name"}
_MISSPELT: Final = names.PREFIX + "Misspelt-identity"
_PROXY: Final = {names.INJECT_PROXY: "true"}


def _unrecognized(keys: str, known: frozenset[str]) -> str:
    """Keys that resemble ours and are not known, with the key that was probably intended or an empty text."""
    return cel(
        f"""
        {keys}.map(key, string(key)).filter(key, !(key in @KNOWN) && key.lowerAscii().contains('identity')).sort()
        .map(
          key,
          {{
            'key': key,
            'intended': @KEYS[
              ?key.lowerAscii().replace('-', '').replace('_', '').replace('.', '').replace('/', '')
            ].orValue('')
          }}
        )
        .filter(found, found.intended != '' || found.key.startsWith(@PREFIX))
        .transformList(index, found, index < @MAX_UNRECOGNIZED, found)
        """,
        KNOWN=known,
        KEYS=dict(sorted(KNOWN.items())),
        MAX_UNRECOGNIZED=MAX_UNRECOGNIZED,
    )


def _key(key: str, intended: str = "") -> dict[str, str]:
    return {key: "found.key", **({intended: "found.intended"} if intended else {})}


def _when(condition: str, message: str, /, **literals: object) -> str:
    return f"({cel(condition, **literals)} ?\n  [{message}] : [])"


def _account(
    labels: tuple[tuple[str, str | None], ...] = (), annotations: tuple[tuple[str, str | None], ...] = ()
) -> Account:
    return Account(CLIENT_ID, unrecognized_labels=labels, unrecognized_annotations=annotations)


_OF_ACCOUNT: Final = variable(
    "accountWarnings",
    "Keys of the ServiceAccount that are misspelt or belong elsewhere.",
    """
    variables.accountLabels.map(found, found.intended in @ACCOUNT_ANNOTATIONS ? @LABEL_MEANT : @LABEL_UNKNOWN)
    + variables.accountKeys.map(
      found,
      found.intended in @ACCOUNT_ANNOTATIONS ? @MEANT : found.intended != '' ? @ELSEWHERE : @UNKNOWN
    )
    """,
    LABEL_MEANT=code(
        warning(
            warnings(pod(), _account(labels=((_MISSPELT, names.CLIENT_ID),))),
            stand_ins=_ACCOUNT | _key(_MISSPELT, names.CLIENT_ID),
        )
    ),
    LABEL_UNKNOWN=code(
        warning(warnings(pod(), _account(labels=((_MISSPELT, None),))), stand_ins=_ACCOUNT | _key(_MISSPELT))
    ),
    MEANT=code(
        warning(
            warnings(pod(), _account(annotations=((_MISSPELT, names.CLIENT_ID),))),
            stand_ins=_ACCOUNT | _key(_MISSPELT, names.CLIENT_ID),
        )
    ),
    ELSEWHERE=code(
        warning(
            warnings(pod(), _account(annotations=((_MISSPELT, names.USE_LABEL),))),
            stand_ins=_ACCOUNT | _key(_MISSPELT),
        )
    ),
    UNKNOWN=code(
        warning(warnings(pod(), _account(annotations=((_MISSPELT, None),))), stand_ins=_ACCOUNT | _key(_MISSPELT))
    ),
)

_IDENTITY: Final = (
    _when("variables.clientId == ''", warning(warnings(pod(), Account()), stand_ins=_ACCOUNT)),
    _when(
        "variables.clientId != '' && !variables.clientId.matches(@PATTERN)",
        warning(warnings(pod(), Account(client_id=FIRST)), "variables.clientId", stand_ins=_ACCOUNT),
        PATTERN=UUID_PATTERN,
    ),
    _when(
        "!variables.tenantId.matches(@UUID) && (variables.tenantId.size() < 4 || !variables.tenantId.matches(@DOMAIN))",
        warning(warnings(pod(), Account(CLIENT_ID, tenant_id=FIRST)), "variables.tenantId", stand_ins=_ACCOUNT),
        UUID=UUID_PATTERN,
        DOMAIN=DOMAIN_PATTERN,
    ),
)

# Keys that the webhook takes for misspelt ones: each is what another key is taken for.
_LIKE_LABEL, _LIKE_SKIP, _LIKE_CLIENT = (
    names.PREFIX + "US-E",
    names.PREFIX + "skip_containers",
    names.PREFIX + "client_id",
)

_OF_POD: Final = variable(
    "keyWarnings",
    "Keys of the pod that are misspelt or belong elsewhere.",
    """
    variables.podKeys.filter(
      found, found.intended != '' || !found.key.startsWith(@CUSTOM_ENDPOINT_PREFIX)
    ).map(
      found,
      found.intended == @USE_LABEL ? @LABEL_MEANT
      : found.intended in @POD_ANNOTATIONS ? @MEANT
      : found.intended != '' ? @ELSEWHERE
      : @UNKNOWN
    )
    + variables.podLabels.filter(found, found.intended != '').map(
      found,
      found.intended == @USE_LABEL ? @AS_LABEL_MEANT
      : found.intended in @POD_ANNOTATIONS ? @AS_ANNOTATION
      : @AS_ANNOTATION_ELSEWHERE
    )
    """,
    LABEL_MEANT=code(warning(warnings(pod({_LIKE_LABEL: ""})), stand_ins=_key(_LIKE_LABEL))),
    MEANT=code(warning(warnings(pod({_LIKE_SKIP: ""})), stand_ins=_key(_LIKE_SKIP, names.SKIP_CONTAINERS))),
    ELSEWHERE=code(warning(warnings(pod({names.CLIENT_ID: ""})), stand_ins=_key(names.CLIENT_ID))),
    UNKNOWN=code(warning(warnings(pod({_MISSPELT: ""})), stand_ins=_key(_MISSPELT))),
    AS_LABEL_MEANT=code(warning(warnings(pod(labels={_LIKE_LABEL: ""})), stand_ins=_key(_LIKE_LABEL))),
    AS_ANNOTATION=code(
        warning(warnings(pod(labels={names.SKIP_CONTAINERS: ""})), stand_ins=_key(names.SKIP_CONTAINERS))
    ),
    AS_ANNOTATION_ELSEWHERE=code(warning(warnings(pod(labels={names.CLIENT_ID: ""})), stand_ins=_key(names.CLIENT_ID))),
)


def _listed(key: str, listed: str) -> str:
    """Names that no container has, as one text."""
    unknown = cel(
        f"""
        [
          {listed}.filter(name, !(name in variables.containerNames) && !(name in @PROXY_CONTAINERS))
          .map(name, string(name)).distinct().sort().join(', ')
        ].filter(unknown, unknown != '')
        """
    )
    return f"{unknown}.map(unknown, {warning(warnings(pod({key: FIRST})), 'unknown')})"


_ANNOTATIONS: Final = variable(
    "annotationWarnings",
    "Annotations without the effect that they should have.",
    """
    variables.annotations.map(key, string(key)).filter(key, key.startsWith(@CUSTOM_ENDPOINT_PREFIX)).sort()
    .map(
      key,
      key != variables.endpoint.annotation ? @OFF
      : variables.annotations[key].lowerAscii() in @BOOLEANS ? ['']
      : @NO_BOOLEAN
    ).filter(parts, parts.size() > 1)
    + @INJECT
    + @SKIP
    + @PROXY
    """,
    BOOLEANS=sorted(values.TRUE | values.FALSE),
    OFF=code(
        warning(
            warnings(pod({names.CUSTOM_ENDPOINT_PREFIX + "identity-binding": ""})),
            stand_ins={names.CUSTOM_ENDPOINT_PREFIX + "identity-binding": "key"},
        )
    ),
    NO_BOOLEAN=code(
        warning(
            warnings(pod({ENDPOINT.annotation: FIRST}), custom_endpoint=ENDPOINT),
            "variables.annotations[key]",
            stand_ins={ENDPOINT.annotation: "key"},
        )
    ),
    INJECT=code(_listed(names.INJECT_CONTAINERS, "variables.injectContainers")),
    SKIP=code(_listed(names.SKIP_CONTAINERS, "variables.skipContainers")),
    PROXY=code(
        _when(
            "@INJECT_PROXY in variables.annotations && !(variables.proxyAnswer in @BOOLEANS)",
            warning(
                warnings(pod({names.INJECT_PROXY: FIRST})), f"variables.annotations[{literal(names.INJECT_PROXY)}]"
            ),
            BOOLEANS=sorted(values.TRUE | values.FALSE),
        )
    ),
)


def _containers_where(condition: str, message: str, /, **literals: object) -> str:
    """A warning that names the pod's own containers for which a condition is true."""
    named = cel(
        f"""
        [
          variables.allContainers.filter(
            own, !(own.name in @PROXY_CONTAINERS) && {condition}
          ).map(own, string(own.name)).join(', ')
        ].filter(containers, containers != '')
        """,
        **literals,
    )
    return f"{named}.map(containers, {message})"


_OF_PROXY: Final = variable(
    "proxyWarnings",
    "Containers that the proxy does not serve, or that get in its way.",
    """
    !variables.getsProxy ? [] :
    (
      !variables.proxyIsNative
      && object.spec.?initContainers.orValue([]).exists(own, own.name != @PROXY_INIT_CONTAINER)
      ? [@AFTER_INIT] : []
    )
    + @PORT
    + (variables.proxyMode != @REDIRECT ? [] : @UID)
    """,
    REDIRECT=str(ProxyMode.REDIRECT),
    AFTER_INIT=code(
        warning(
            warnings(
                pod(_PROXY, initContainers=[{"name": "own"}]),
                proxy=replace(PROXY, native=False),
            )
        )
    ),
    PORT=code(
        _containers_where(
            """own.?ports.orValue([]).exists(
              port, port.containerPort == variables.proxyPort && port.?protocol.orValue('TCP') == 'TCP'
            )""",
            warning(
                warnings(pod({**_PROXY, names.PROXY_PORT: "54321"}, container={"ports": [{"containerPort": 54321}]})),
                stand_ins={CONTAINER: "containers", "54321": "variables.proxyPort"},
            ),
        )
    ),
    UID=code(
        _containers_where(
            """own.?securityContext.?runAsUser.orValue(
              object.spec.?securityContext.?runAsUser.orValue(-1)
            ) == @PROXY_UID""",
            warning(
                warnings(pod(_PROXY, container={"securityContext": {"runAsUser": names.PROXY_UID}})),
                stand_ins={CONTAINER: "containers"},
            ),
        )
    ),
)


def _set(variable: str, value: str = "") -> dict[str, object]:
    return {"env": [{"name": variable, "value": value}]}


_TARGET: Final = {CONTAINER: "target.container.name"}
_OTHER: Final = min(names.ENV_OTHER_CREDENTIALS)
_LAST: Final = "variables.lastVariables[index]"

_OF_CONTAINERS: Final = variable(
    "containerWarnings",
    "What containers have already: mounts in the token's way, and variables that SDKs prefer.",
    """
    variables.targets.transformList(
      index, target,
      (
        variables.free[index].exists(place, place.directory == variables.preferred.directory)
        ? [] : [@PATH]
      )
      + variables.ownVariables[index].filter(
        entry, entry.name in variables.lastVariables[index] && entry != variables.lastVariables[index][entry.name]
      ).map(entry, string(entry.name)).distinct().sort().map(name, @DOUBLED)
      + variables.environments[index].filter(
        entry,
        entry.name in variables.lastVariables[index]
        && variables.lastVariables[index][entry.name].?value.orValue('') != entry.value
        && !(
          entry.name == @ENV_TOKEN_FILE
          && variables.allPlaces.exists(
            place,
            variables.lastVariables[index][entry.name].?value.orValue('') == place.directory + '/' + place.token
          )
        )
      ).map(entry, @SHADOWED)
      + @OTHERS.filter(name, name in variables.lastVariables[index]).map(name, @OTHER)
      + (
        variables.lastVariables[index][?@ENV_TOKEN_CREDENTIALS].?value.orValue('').trim().lowerAscii()
        in (variables.getsProxy ? @WITH_PROXY : @WITH_IDENTITY)
        ? [] : [@CREDENTIALS]
      )
    ).flatten(1)
    """,
    WITH_PROXY=sorted(WITH_PROXY),
    WITH_IDENTITY=sorted(WITH_IDENTITY),
    OTHERS=sorted(names.ENV_OTHER_CREDENTIALS),
    PATH=code(
        warning(
            warnings(pod(container={"volumeMounts": [{"name": "own", "mountPath": names.DOCUMENTED_DIRECTORY}]})),
            stand_ins=_TARGET
            | {
                names.DOCUMENTED_DIRECTORY: "variables.preferred.directory",
                f"{names.V160_DIRECTORY}/{names.V160_TOKEN_FILE}": (
                    "variables.places[index][0].directory + '/' + variables.places[index][0].token"
                ),
            },
        )
    ),
    DOUBLED=code(
        warning(
            warnings(
                pod(
                    container={
                        "env": [
                            {"name": names.ENV_TOKEN_CREDENTIALS},
                            {"name": names.ENV_TOKEN_CREDENTIALS, "value": "prod"},
                        ]
                    }
                )
            ),
            stand_ins=_TARGET | {names.ENV_TOKEN_CREDENTIALS: "name"},
        )
    ),
    SHADOWED=code(
        warning(
            warnings(pod(container=_set(names.ENV_TENANT_ID, "own"))),
            stand_ins=_TARGET | {names.ENV_TENANT_ID: "entry.name"},
        )
    ),
    OTHER=code(warning(warnings(pod(container=_set(_OTHER))), stand_ins=_TARGET | {_OTHER: "name"})),
    CREDENTIALS=code(
        warning(
            warnings(pod(container=_set(names.ENV_TOKEN_CREDENTIALS, FIRST))),
            f"variables.lastVariables[index][{literal(names.ENV_TOKEN_CREDENTIALS)}].value",
            stand_ins=_TARGET,
        )
    ),
)


def _missed(of: Pod, account: Account = Account(), way: OptIn = OptIn.POD_LABEL) -> tuple[AdmissionWarning, ...]:  # noqa: B008  a frozen value
    return warnings(of, account, opted_in=False, ways=frozenset({way}))


def _sign(of: Pod, account: Account = Account()) -> str:  # noqa: B008  a frozen value
    """The first half of the sentence about a label that is missing."""
    (only,) = _missed(of, account)
    return only.text.partition(_BUT)[0]


_BUT: Final = ", but nothing is injected"
_MISSING: Final = _missed(pod({names.SKIP_CONTAINERS: ""}))


def _ways() -> str:
    """The ways to take part under the settings, in the webhook's order."""
    texts = []
    for way in OptIn:
        (only,) = _missed(pod({names.SKIP_CONTAINERS: ""}), way=way)
        sentence = text(only.text.rpartition("to take part, ")[2], _ACCOUNT)
        texts.append(f"('{way}' in variables.optIn ? {sentence} : [])")
    return "(" + "\n+ ".join(texts) + ").join(' or ')"


_NOT_OPTED_IN: Final = variable(
    "optInWarnings",
    "A pod that probably should take part, and what it lacks.",
    """
    variables.labels[?@USE_LABEL].orValue('true') != 'true' ? [@NOT_TRUE]
    : @USE_LABEL in variables.annotations ? [@ANNOTATION]
    : (
      @USE_LABEL in variables.labels ? [@LABELLED]
      : variables.annotations.exists(key, key.startsWith(@PREFIX)) ? [@ANNOTATED]
      : variables.accountClientId != '' ? [@ACCOUNT_ANNOTATED]
      : @USE_LABEL in params.metadata.?labels.orValue({}) ? [@ACCOUNT_LABELLED]
      : []
    ).map(sign, @MISSING)
    """,
    NOT_TRUE=code(
        warning(_missed(pod(labels={names.USE_LABEL: FIRST})), f"variables.labels[{literal(names.USE_LABEL)}]")
    ),
    ANNOTATION=code(warning(_missed(pod({names.USE_LABEL: ""})))),
    LABELLED=_sign(pod(labels={names.USE_LABEL: "true"})),
    ANNOTATED=_sign(pod({names.SKIP_CONTAINERS: ""})),
    ACCOUNT_ANNOTATED=code(text(_sign(pod(), ACCOUNT), _ACCOUNT) + ".join('')"),
    ACCOUNT_LABELLED=code(text(_sign(pod(), Account(labelled=True)), _ACCOUNT) + ".join('')"),
    MISSING=code(
        warning(
            _MISSING,
            stand_ins={
                _sign(pod({names.SKIP_CONTAINERS: ""})): "sign",
                _MISSING[0].text.rpartition("to take part, ")[2]: _ways(),
            },
        )
    ),
)

VARIABLES: Final[tuple[Variable, ...]] = (
    variable(
        "accountLabels",
        "Labels of the ServiceAccount that resemble ours.",
        _unrecognized("params.metadata.?labels.orValue({})", frozenset({names.USE_LABEL})),
    ),
    variable(
        "accountKeys",
        "Annotations of the ServiceAccount that resemble ours.",
        _unrecognized("variables.accountAnnotations", names.ACCOUNT_ANNOTATIONS),
    ),
    variable("podKeys", "Annotations of the pod that resemble ours.", _unrecognized("variables.annotations", POD_KEYS)),
    variable(
        "podLabels",
        "Labels of the pod that resemble ours.",
        _unrecognized("variables.labels", frozenset({names.USE_LABEL})),
    ),
    variable(
        "proxyAnswer",
        "Whether the pod asks for the proxy, as it is written.",
        "variables.annotations[?@INJECT_PROXY].orValue('').lowerAscii()",
    ),
    variable(
        "lastVariables",
        "For each container that gets the identity, its variables by name; the last of a name counts.",
        """
        variables.ownVariables.map(
          own,
          own.map(entry, string(entry.name)).filter(name, name in @RELEVANT).distinct().transformMapEntry(
            index, name, {name: own.filter(entry, entry.name == name).reverse()[0]}
          )
        )
        """,
        RELEVANT=sorted(RELEVANT),
    ),
    _OF_ACCOUNT,
    _OF_POD,
    _ANNOTATIONS,
    _OF_PROXY,
    _OF_CONTAINERS,
    _NOT_OPTED_IN,
    variable(
        "warningParts",
        "What the author is warned of. Values are at the odd places.",
        """
        variables.isMirror || variables.optedOut ? []
        : !variables.takesPart
        ? variables.optInWarnings + variables.keyWarnings + variables.accountWarnings
        : variables.selected.size() == 0 && !variables.getsProxy
        ? variables.annotationWarnings
        : variables.accountWarnings
        + @IDENTITY
        + variables.keyWarnings
        + variables.annotationWarnings
        + variables.proxyWarnings
        + variables.containerWarnings
        """,
        IDENTITY=code("\n+ ".join(_IDENTITY)),
    ),
    variable("warnings", "The same as sentences.", sentences("variables.warningParts")),
)
