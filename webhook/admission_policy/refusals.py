"""Why a pod is refused: the webhook's reasons and messages, in the webhook's order."""

from collections.abc import Iterable
from typing import Final

from azure_workload_identity import names
from webhook.admission import values
from webhook.admission.annotations import MAX_NAMES
from webhook.admission.identity import Account
from webhook.admission.layout import TWO_VOLUMES
from webhook.admission.proxy import MAX_PORT, RESOURCE_ANNOTATIONS, ProxyMode
from webhook.admission_policy.cel import Variable, cel, code, literal, variable
from webhook.admission_policy.messages import BLANK, FIRST, refusal, sentences
from webhook.admission_policy.provoked import ACCOUNT_NAME, CLIENT_ID, CONTAINER, pod, warnings
from webhook.admission_policy.values import (
    DOMAIN_PATTERN,
    ID_PATTERN,
    INTEGER_PATTERN,
    QUANTITY_PATTERN,
    UUID_PATTERN,
)

_ACCOUNT: Final = {ACCOUNT_NAME: "params.metadata.name"}
_PROXY: Final = {names.INJECT_PROXY: "true"}
_LARGER, _SMALLER = "98765", "12345"


def _when(condition: str, message: str, /, **literals: object) -> str:
    return f"({cel(condition, **literals)} ?\n  [{message}] : [])"


def _listed(conditions: Iterable[str]) -> str:
    return "\n+ ".join(conditions)


def _text(key: str) -> str:
    return f"variables.annotations[?{literal(key)}].orValue('')"


def _too_many(key: str) -> str:
    return _when(
        f"{_text(key)}.size() - {_text(key)}.replace(';', '').replace(',', '').size() > @MAX_NAMES",
        refusal(lambda: warnings(pod({key: ";" * (MAX_NAMES + 1)}))),
        MAX_NAMES=MAX_NAMES,
    )


def _quantity(key: str) -> str:
    return _when(
        f"{literal(key)} in variables.annotations && !{_text(key)}.matches(@PATTERN)",
        refusal(lambda: warnings(pod({**_PROXY, key: FIRST})), _text(key)),
        PATTERN=QUANTITY_PATTERN,
    )


def _exceeded(kind: str) -> str:
    request, limit = (names.PREFIX + f"proxy-{kind}-{which}" for which in ("request", "limit"))
    return _when(
        f"'{kind}' in variables.proxyExceeded\n&& {_text(request)} != '' && {_text(limit)} != ''",
        refusal(
            lambda: warnings(pod({**_PROXY, request: _LARGER, limit: _SMALLER})),
            stand_ins={_LARGER: _text(request), _SMALLER: _text(limit)},
        ),
    )


_PROXY_REFUSALS: Final = (
    _when(
        "!(variables.proxyMode in @MODES)",
        refusal(lambda: warnings(pod({**_PROXY, names.PROXY_MODE: FIRST})), "variables.proxyMode"),
        MODES=[str(mode) for mode in ProxyMode],
    ),
    _when(
        """
        !variables.proxyPortText.matches(@PATTERN)
        || int(variables.proxyPortText) < 1 || int(variables.proxyPortText) > @MAX_PORT
        """,
        refusal(lambda: warnings(pod({**_PROXY, names.PROXY_PORT: FIRST})), "variables.proxyPortText"),
        PATTERN=INTEGER_PATTERN,
        MAX_PORT=MAX_PORT,
    ),
    *(_quantity(annotation) for annotation, _ in RESOURCE_ANNOTATIONS),
    _when(
        "variables.proxyThenClientId != '' && !variables.proxyThenClientId.matches(@UUID)",
        refusal(lambda: warnings(pod({**_PROXY, names.PROXY_THEN_CLIENT_ID: FIRST})), "variables.proxyThenClientId"),
        UUID=UUID_PATTERN,
    ),
    _when(
        """
        variables.proxyThenTenantId != '' && !variables.proxyThenTenantId.matches(@UUID)
        && (
          variables.proxyThenTenantId.size() < 4 || variables.proxyThenTenantId.size() > @MAX_ID
          || !variables.proxyThenTenantId.matches(@DOMAIN)
        )
        """,
        refusal(lambda: warnings(pod({**_PROXY, names.PROXY_THEN_TENANT_ID: FIRST})), "variables.proxyThenTenantId"),
        UUID=UUID_PATTERN,
        DOMAIN=DOMAIN_PATTERN,
        MAX_ID=values.MAX_ID,
    ),
    _when(
        "variables.proxyThenTenantId != '' && variables.proxyThenClientId == ''",
        refusal(lambda: warnings(pod({**_PROXY, names.PROXY_THEN_TENANT_ID: CLIENT_ID}))),
    ),
    _when("object.spec.?hostNetwork.orValue(false)", refusal(lambda: warnings(pod(_PROXY, hostNetwork=True)))),
    _when("variables.isWindows", refusal(lambda: warnings(pod(_PROXY, os={"name": "windows"})))),
    *map(_exceeded, ("cpu", "memory")),
)

_IDENTITY_REFUSALS: Final = (
    _when(
        "variables.clientId != '' && !variables.clientId.matches(@PATTERN)",
        refusal(lambda: warnings(pod(), Account(client_id=BLANK)), "variables.clientId", stand_ins=_ACCOUNT),
        PATTERN=ID_PATTERN,
    ),
    _when(
        "!variables.tenantId.matches(@PATTERN)",
        refusal(lambda: warnings(pod(), Account(tenant_id=BLANK)), "variables.tenantId", stand_ins=_ACCOUNT),
        PATTERN=ID_PATTERN,
    ),
    _when(
        "variables.podExpiration == '' && !variables.expirationIsValid",
        refusal(
            lambda: warnings(pod(), Account(token_expiration=FIRST)), "variables.expirationText", stand_ins=_ACCOUNT
        ),
    ),
    _when(
        "variables.getsProxy && variables.proxyThenClientId != '' && variables.clientId == ''",
        refusal(
            lambda: warnings(pod({**_PROXY, names.PROXY_THEN_CLIENT_ID: CLIENT_ID}), Account()), stand_ins=_ACCOUNT
        ),
    ),
)

_PATHS_TAKEN: Final = cel(
    """
    variables.targets.transformList(
      index, target,
      variables.hasNoRoom[index],
      @MESSAGE
    )
    """,
    MESSAGE=code(
        refusal(
            lambda: warnings(
                pod(
                    container={"volumeMounts": [{"name": "own", "mountPath": path} for path in TWO_VOLUMES.directories]}
                )
            ),
            stand_ins={
                CONTAINER: "target.container.name",
                f"{', '.join(TWO_VOLUMES.directories[:-1])} and {TWO_VOLUMES.directories[-1]}": (
                    "variables.mounts.map(place, place.directory).join(', ') + ' and ' + variables.fallback.directory"
                ),
            },
        )
    ),
)

VARIABLES: Final[tuple[Variable, ...]] = (
    variable(
        "proxyRefusals",
        "What is wrong with what the pod asks of the proxy.",
        "!variables.proxyIsRequested ? [] :\n@LIST",
        LIST=code(_listed(_PROXY_REFUSALS)),
    ),
    variable("identityRefusals", "What is wrong with the identity.", "@LIST", LIST=code(_listed(_IDENTITY_REFUSALS))),
    variable(
        "refusalParts",
        "Why the pod is refused: the first reason counts. Values are at the odd places.",
        """
        !variables.takesPart ? []
        : variables.isUsual ? variables.identityRefusals
        : @FIRST
        + variables.proxyRefusals
        + variables.identityRefusals
        + @TAKEN
        """,
        FIRST=code(
            _listed(
                (
                    _too_many(names.INJECT_CONTAINERS),
                    _too_many(names.SKIP_CONTAINERS),
                    _when(
                        "variables.podExpiration != '' && !variables.expirationIsValid",
                        refusal(lambda: warnings(pod({names.TOKEN_EXPIRATION: FIRST})), "variables.expirationText"),
                    ),
                    _when(
                        f"!({_text(names.SECOND_AUDIENCE)} == '' || {_text(names.SECOND_AUDIENCE)}.matches(@PATTERN))",
                        refusal(lambda: warnings(pod({names.SECOND_AUDIENCE: BLANK})), _text(names.SECOND_AUDIENCE)),
                        PATTERN=ID_PATTERN,
                    ),
                )
            )
        ),
        TAKEN=code(
            "(variables.selected.size() == 0 && !variables.getsProxy ? [] :\n"
            + _PATHS_TAKEN
            + "\n+ variables.foreignVolumes.map(name, "
            + refusal(
                lambda: warnings(pod(volumes=[{"name": names.DOCUMENTED_VOLUME, "emptyDir": {}}])),
                stand_ins={names.DOCUMENTED_VOLUME: "name"},
            )
            + "))"
        ),
    ),
    variable(
        "refusals",
        "The same as sentences.",
        "variables.refusalParts.size() == 0 ? [] :\n@SENTENCES",
        SENTENCES=code(sentences("variables.refusalParts")),
    ),
)

# What the policy that injects makes of a pod that is refused, and what the policy that refuses reads.
MARK: Final = cel(
    """
    ['labels', 'annotations'].filter(key, !(key in object.metadata)).map(
      key, JSONPatch{op: 'add', path: '/metadata/' + key, value: {}}
    ) + ['labels', 'annotations'].map(
      key,
      JSONPatch{
        op: 'add', path: '/metadata/' + key + '/' + jsonpatch.escapeKey(@REFUSED),
        value: key == 'labels' ? 'true' : variables.refusals[0]
      }
    )
    """
)
REASON: Final = variable(
    "reason",
    "Why the policy that injects has refused the pod, empty where it has not.",
    "object.metadata.?annotations[?@REFUSED].orValue('')",
)
