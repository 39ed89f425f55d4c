"""The proxy sidecar of a pod that asks for it, in both of its modes."""

from typing import Final, cast

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission import fragments
from webhook.admission.policy import ProxySettings, Resources
from webhook.admission.proxy import RESOURCE_ANNOTATIONS, Application, ProxyMode, ProxyPlan
from webhook.admission.windows import OS_LABELS, WINDOWS
from webhook.admission_policy.cel import Variable, code, literal, variable
from webhook.admission_policy.values import QUANTITY_PATTERN

_RESOURCES: Final = Resources(
    *(
        code(f"variables.proxyResources.{name}")
        for name in ("cpu_request", "memory_request", "cpu_limit", "memory_limit")
    )
)
# The port is a number in a field and its digits in a text; the fragments write the text.
_PLAN: Final = ProxyPlan(
    ProxyMode.REDIRECT,
    cast("int", code("string(variables.proxyPort)")),
    _RESOURCES,
    Application(code("variables.proxyThenClientId"), code("variables.proxyThenTenantId")),
)


def _settings(*, native: bool = True, init_image: str = "") -> ProxySettings:
    return ProxySettings(
        image=code("variables.proxy.image"),
        init_image=init_image,
        native=native,
        log_level=code("variables.proxy.logLevel"),
        https_proxy=code("variables.proxy.httpsProxy"),
        no_proxy=code("variables.proxy.noProxy"),
        ca_configmap=code("variables.proxy.caConfigMap"),
    )


def _resources(resources: JsonObject) -> str:
    """Leave out what is empty."""
    amounts = {
        kind: code(f"{literal(amounts)}.transformMap(name, amount, amount != '', amount)")
        for kind, amounts in resources.items()
    }
    return code(f"{literal(amounts)}.transformMap(kind, amounts, amounts.size() > 0, amounts)")


def _environment(entries: list[JsonObject]) -> str:
    """The sidecar's own variables after the identity's; those without a value are left out."""
    for entry in entries:
        if entry["name"] == names.ENV_CERT_FILE:
            entry["value"] = code(f"variables.proxy.caConfigMap == '' ? '' : {literal(entry['value'])}")
    return code(f"(variables.usualEnvironment + {literal(entries)}).filter(entry, entry.value != '')")


def _sidecar(*, native: bool) -> str:
    container = fragments.proxy_container(_PLAN, _settings(native=native), {}, [])
    context = container["securityContext"]
    unassigned = {key: value for key, value in context.items() if key not in ("runAsGroup", "runAsUser")}
    passing = "(variables.proxy.passThrough == '' ? [] : ['--pass-through=' + variables.proxy.passThrough])"
    return literal(
        {
            **container,
            "args": code(f"{literal(container['args'])} + {passing}"),
            "ports": [{"containerPort": code("variables.proxyPort"), "protocol": "TCP"}],
            "env": _environment(container["env"]),
            "volumeMounts": code(
                "variables.mounts.map(place, "
                "{'name': dyn(place.volume), 'mountPath': dyn(place.directory), 'readOnly': dyn(true)})"
            ),
            "resources": _resources(container["resources"]),
            "securityContext": code(
                f"variables.proxyUidIsAssigned && variables.proxyMode == '{ProxyMode.ENVIRONMENT}'"
                f" ? {literal(unassigned)} : {literal(context)}"
            ),
        }
    )


def _init_container(init_image: str) -> str:
    container = fragments.proxy_init_container(_PLAN, _settings(init_image=init_image))
    return literal({**container, "resources": _resources(container["resources"])})


REQUEST: Final[tuple[Variable, ...]] = (
    variable(
        "proxyMode",
        "How the app reaches the proxy.",
        "variables.annotations[?@PROXY_MODE].orValue(@REDIRECT)",
        REDIRECT=str(ProxyMode.REDIRECT),
    ),
    variable(
        "proxyPortText",
        "The port that the pod asks for, as it is written.",
        "variables.annotations[?@PROXY_PORT].orValue(@DEFAULT)",
        DEFAULT=str(names.DEFAULT_PROXY_PORT),
    ),
    variable(
        "proxyThenClientId",
        "The application of which the proxy gets tokens by a second exchange, empty for none.",
        "variables.annotations[?@PROXY_THEN_CLIENT_ID].orValue('').trim()",
    ),
    variable(
        "proxyThenTenantId",
        "The tenant of that exchange, empty for the identity's.",
        "variables.annotations[?@PROXY_THEN_TENANT_ID].orValue('').trim()",
    ),
    variable(
        "isWindows",
        "Whether the pod can only run on Windows.",
        """
        object.spec.?os.?name.orValue('') == @WINDOWS
        || @LABELS.exists(label, object.spec.?nodeSelector[?label].orValue('') == @WINDOWS)
        || [object.spec.?affinity.?nodeAffinity.?requiredDuringSchedulingIgnoredDuringExecution.?nodeSelectorTerms
            .orValue([])].exists(
          terms,
          terms.size() > 0 && terms.all(
            term,
            term.?matchExpressions.orValue([]).exists(
              rule, rule.key in @LABELS && rule.operator == 'In' && rule.?values.orValue([]) == [@WINDOWS]
            )
          )
        )
        || ([dyn(object.spec)] + variables.allContainers).exists(
          own, own.?securityContext.?windowsOptions.orValue({}).size() > 0
        )
        """,
        WINDOWS=WINDOWS,
        LABELS=OS_LABELS,
    ),
    variable(
        "proxyRequested",
        "The resources that the pod asks for, empty where it does not.",
        "@REQUESTED",
        REQUESTED={
            name: code(f"variables.annotations[?{literal(annotation)}].orValue('')")
            for annotation, name in RESOURCE_ANNOTATIONS
        },
    ),
    variable(
        "proxyMerged",
        "Those, or the settings'. A pod with resources of its own shares them.",
        """
        variables.proxyRequested.transformMap(
          name, amount,
          amount != '' || object.spec.?resources.orValue({}).size() > 0 ? amount : variables.proxy[name]
        )
        """,
    ),
    variable(
        "proxyExceeded",
        "Of cpu and memory, those whose request is above its limit.",
        """
        variables.proxyRequested.all(name, amount, amount == '' || amount.matches(@QUANTITY))
        ? ['cpu', 'memory'].filter(
            kind,
            (variables.proxyRequested[kind + '_request'] != '' || variables.proxyRequested[kind + '_limit'] != '')
            && variables.proxyMerged[kind + '_request'] != '' && variables.proxyMerged[kind + '_limit'] != ''
            && quantity(variables.proxyMerged[kind + '_request']).isGreaterThan(
              quantity(variables.proxyMerged[kind + '_limit'])
            )
          )
        : []
        """,
        QUANTITY=QUANTITY_PATTERN,
    ),
    variable(
        "proxyResources",
        "The proxy's resources: a setting that contradicts what the pod asks for is moved to the same amount.",
        """
        variables.proxyMerged.transformMap(
          name, amount,
          !(name.split('_')[0] in variables.proxyExceeded) ? amount
          : variables.proxyRequested[name.split('_')[0] + '_request'] != ''
          ? variables.proxyRequested[name.split('_')[0] + '_request']
          : variables.proxyRequested[name.split('_')[0] + '_limit']
        )
        """,
    ),
    variable(
        "getsProxy",
        "Whether the pod gets the proxy.",
        "variables.proxyIsRequested && variables.takesPart && variables.proxyRefusals.size() == 0",
    ),
    variable(
        "proxyPort",
        "The port on which the proxy listens.",
        "variables.getsProxy ? int(variables.proxyPortText) : @DEFAULT_PROXY_PORT",
    ),
)

CONTAINERS: Final[tuple[Variable, ...]] = (
    variable(
        "proxyInitContainers",
        "The containers before the pod's init containers: the one that writes the redirect rules, then the proxy.",
        """
        !variables.getsProxy ? [] : (
          variables.proxyMode != @REDIRECT || @PROXY_INIT_CONTAINER in variables.containerNames ? []
          : variables.proxy.initImage == '' ? [dyn(@INIT)]
          : [dyn(@OTHER_INIT)]
        ) + (
          !variables.proxyIsNative || @PROXY_CONTAINER in variables.containerNames ? [] : [dyn(@SIDECAR)]
        )
        """,
        REDIRECT=str(ProxyMode.REDIRECT),
        INIT=code(_init_container("")),
        OTHER_INIT=code(_init_container(code("variables.proxy.initImage"))),
        SIDECAR=code(_sidecar(native=True)),
    ),
    variable(
        "proxyContainers",
        "The containers that go before the pod's containers: the proxy, where native sidecars are turned off.",
        """
        !variables.getsProxy || variables.proxyIsNative || @PROXY_CONTAINER in variables.containerNames
        ? [] : [dyn(@SIDECAR)]
        """,
        SIDECAR=code(_sidecar(native=False)),
    ),
)
