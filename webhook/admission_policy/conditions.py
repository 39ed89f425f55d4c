"""The match conditions of policies, which the API server evaluates for every ServiceAccount that a binding selects.

The API server takes no variables in them. Settings are written as `settings.NAME`, which `with_settings` and the chart
replace by values.
"""

import re
from collections.abc import Mapping
from typing import Final, cast

from azure_workload_identity import names
from webhook.admission import fragments
from webhook.admission.identity import Identity
from webhook.admission.layout import TWO_VOLUMES
from webhook.admission.policy import Policy
from webhook.admission_policy.cel import cel, code, literal
from webhook.admission_policy.settings import as_json
from webhook.admission_policy.values import DOMAIN_PATTERN, INTEGER_PATTERN, UUID_PATTERN

_SETTING: Final = re.compile(r"\bsettings\.([a-zA-Z]+)")
_TENANT_ID: Final = f"params.metadata.annotations[?{literal(names.TENANT_ID)}].orValue(settings.tenantId)"
_EXPIRATION: Final = f"params.metadata.annotations[?{literal(names.TOKEN_EXPIRATION)}].orValue(settings.expiration)"
_IDENTITY: Final = Identity(
    code(f"params.metadata.annotations[{literal(names.CLIENT_ID)}]"),
    code(_TENANT_ID),
    cast("int", code(f"int({_EXPIRATION})")),
)

# Of all ServiceAccounts that the binding selects in the namespace, the pod's own one. The usual pod that is complete is
# left alone: that is what the API server evaluates the policies with again, and what there is nothing to warn of.
OWN_ACCOUNT: Final = cel(
    """
    params.metadata.name == object.spec.?serviceAccountName.orValue('default') && !(
      // The usual pod, complete already: no annotation asks for more, and nothing is misspelt.
      object.spec.?volumes.orValue([]).exists(volume, volume.name == @VOLUME)
      && object.metadata.?annotations.orValue({}).all(key, !key.lowerAscii().contains('identity'))
      && object.metadata.?labels.orValue({}).all(key, key == @USE_LABEL || !key.lowerAscii().contains('identity'))
      && params.metadata.?labels.orValue({}).all(key, key == @USE_LABEL || !key.lowerAscii().contains('identity'))
      && params.metadata.?annotations.orValue({}).all(
        key, key in @ACCOUNT_ANNOTATIONS || !key.lowerAscii().contains('identity')
      )
      // The identity is its ServiceAccount's own, and valid.
      && params.metadata.?annotations[?@CLIENT_ID].orValue('').matches(@UUID)
      && @TENANT.matches(@TENANT_PATTERN)
      && @EXPIRATION.matches(@INTEGER)
      && int(@EXPIRATION) >= @MIN_TOKEN_EXPIRATION && int(@EXPIRATION) <= @MAX_TOKEN_EXPIRATION
      // It has the volumes, and each container their mounts and the variables, and no other variables of SDKs.
      && @VOLUMES.all(volume, volume in object.spec.volumes)
      && object.spec.containers != null
      && [@ENVIRONMENT].all(
        environment,
        (object.spec.?initContainers.orValue([]) + object.spec.containers).all(
          own,
          own.?env.orValue([]).filter(entry, entry.name.startsWith('AZURE_')) == environment
          && @MOUNTS.all(mount, mount in own.?volumeMounts.orValue([]))
        )
      )
    )
    """,
    UUID=UUID_PATTERN,
    TENANT_PATTERN=f"{UUID_PATTERN}|{DOMAIN_PATTERN}",
    INTEGER=INTEGER_PATTERN,
    TENANT=code(_TENANT_ID),
    EXPIRATION=code(_EXPIRATION),
    VOLUMES=[fragments.volume(wanted, _IDENTITY, code("settings.audience"), None) for wanted in TWO_VOLUMES.volumes],
    ENVIRONMENT=fragments.as_env(
        fragments.identity_variables(_IDENTITY, code("settings.authorityHost"), TWO_VOLUMES.preferred, None)
    ),
    MOUNTS=[fragments.mount(place) for place in TWO_VOLUMES.mounts],
)
# Where the policies cannot read the identity mapping: the pod's ServiceAccount leaves nothing for it to say.
OWN_VALUES: Final = cel(
    """
    [@CLIENT_ID, @TENANT_ID, @TOKEN_EXPIRATION].all(
      key, params.metadata.?annotations[?key].orValue('').trim() != ''
    )
    """
)
# Beside a webhook: the pods for which it is called are those that the policies left.
LEFT_BY_POLICY: Final = cel(
    """
    !(@REFUSED in object.metadata.?labels.orValue({}))
    && !object.spec.?volumes.orValue([]).exists(volume, volume.name.startsWith(@VOLUME_PREFIX))
    """
)
# The guard looks closer at pods without the token only.
WITHOUT_TOKEN: Final = cel("!object.spec.?volumes.orValue([]).exists(volume, volume.name.startsWith(@VOLUME_PREFIX))")


def with_settings(condition: str, settings: Mapping[str, str]) -> str:
    """Write settings, each an expression by its name, into a condition."""
    return _SETTING.sub(lambda found: settings[found[1]], condition)


def usual_settings(policy: Policy) -> Mapping[str, str]:
    """The settings that usual pods have, as JSON.

    One that may be another for some accounts is empty, so that no pod counts as a usual one that is complete.
    """
    is_mapped = bool(policy.mapping.entries)
    settings = {
        "audience": "" if policy.second_audience else policy.audience,
        "authorityHost": policy.authority_host,
        "tenantId": "" if is_mapped else policy.identity.tenant_id,
        "expiration": "" if is_mapped else str(policy.identity.token_expiration),
    }
    return {name: as_json(value) for name, value in settings.items()}
