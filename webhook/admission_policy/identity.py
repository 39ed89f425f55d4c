"""Whether a pod takes part, and its identity: client id, tenant id, lifetime of the token."""

from typing import Final

from webhook.admission import values
from webhook.admission.policy import OptIn
from webhook.admission_policy.cel import Variable, variable
from webhook.admission_policy.values import INTEGER_PATTERN

VARIABLES: Final[tuple[Variable, ...]] = (
    variable("labels", "The pod's labels.", "object.metadata.?labels.orValue({})"),
    variable("annotations", "The pod's annotations.", "object.metadata.?annotations.orValue({})"),
    variable(
        "accountAnnotations", "The annotations of its ServiceAccount.", "params.metadata.?annotations.orValue({})"
    ),
    variable(
        "mapped",
        "The entry of the identity mapping for the ServiceAccount, or an empty one.",
        """
        (
          params.metadata.namespace + '/' + params.metadata.name in variables.mappedAccounts
          ? [variables.mappedAccounts[params.metadata.namespace + '/' + params.metadata.name]]
          : variables.mappedPatterns.filter(
              entry,
              params.metadata.namespace.matches(entry.namespace) && params.metadata.name.matches(entry.serviceAccount)
            )
        ).map(entry, dyn(entry))
        + [dyn({'clientId': '', 'tenantId': '', 'tokenExpiration': ''})]
        """,
    ),
    variable(
        "accountClientId",
        "The client id that the ServiceAccount names, empty for none.",
        "variables.accountAnnotations[?@CLIENT_ID].orValue('').trim()",
    ),
    variable(
        "clientId",
        "The client id: the ServiceAccount's, or the mapping's.",
        "variables.accountClientId != '' ? variables.accountClientId : variables.mapped[0].clientId",
    ),
    variable(
        "accountTenantId",
        "The tenant that the ServiceAccount names, empty for none.",
        "variables.accountAnnotations[?@TENANT_ID].orValue('').trim()",
    ),
    variable(
        "tenantId",
        "The tenant: the ServiceAccount's, the mapping's, or the setting's.",
        """
        variables.accountTenantId != '' ? variables.accountTenantId
        : variables.mapped[0].tenantId != '' ? variables.mapped[0].tenantId
        : variables.defaultTenantId
        """,
    ),
    variable(
        "podExpiration",
        "The token's lifetime that the pod asks for, as it is written.",
        "variables.annotations[?@TOKEN_EXPIRATION].orValue('')",
    ),
    variable(
        "expirationText",
        "The token's lifetime that the pod or its ServiceAccount asks for, as it is written.",
        """
        variables.podExpiration != ''
        ? variables.podExpiration
        : variables.accountAnnotations[?@TOKEN_EXPIRATION].orValue('')
        """,
    ),
    variable(
        "expirationIsValid",
        "Whether that is a number of seconds in the limits.",
        """
        variables.expirationText == '' || (
          variables.expirationText.matches(@PATTERN)
          && int(variables.expirationText) >= @MIN_TOKEN_EXPIRATION
          && int(variables.expirationText) <= @MAX_TOKEN_EXPIRATION
        )
        """,
        PATTERN=INTEGER_PATTERN,
    ),
    variable(
        "expiration",
        "The token's lifetime in seconds. A pod with one that is not valid is refused.",
        """
        variables.expirationText != ''
        ? (variables.expirationIsValid ? int(variables.expirationText) : variables.defaultExpiration)
        : variables.mapped[0].tokenExpiration != ''
        ? int(variables.mapped[0].tokenExpiration)
        : variables.defaultExpiration
        """,
    ),
    variable(
        "isMirror",
        "Whether the pod only shows a static pod, which its kubelet runs unchanged.",
        "@MIRROR_POD in variables.annotations",
    ),
    variable(
        "optedOut",
        "Whether the pod's own label opts it out.",
        "variables.labels[?@USE_LABEL].orValue('').lowerAscii() in @FALSE",
        FALSE=values.FALSE,
    ),
    variable(
        "optedIn",
        "Whether its label or its namespace's opts it in.",
        """
        !variables.isMirror && !variables.optedOut && (
          (@POD_LABEL in variables.optIn && variables.labels[?@USE_LABEL].orValue('') == 'true')
          || (
            @NAMESPACE_LABEL in variables.optIn
            && namespaceObject.metadata.?labels[?@USE_LABEL].orValue('') == 'true'
          )
        )
        """,
        POD_LABEL=str(OptIn.POD_LABEL),
        NAMESPACE_LABEL=str(OptIn.NAMESPACE_LABEL),
    ),
    variable(
        "takesPart",
        "Whether it takes part: by a label, or because its ServiceAccount has an identity.",
        """
        variables.optedIn || (
          @SERVICE_ACCOUNT in variables.optIn && !variables.isMirror && !variables.optedOut
          && variables.clientId != ''
        )
        """,
        SERVICE_ACCOUNT=str(OptIn.SERVICE_ACCOUNT),
    ),
)
