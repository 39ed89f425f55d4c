"""The policies by which the API server injects identities itself, as the doctor sees them."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from webhook.admission.identity import IdentityMapping, MappingEntry

GROUP: Final = "admissionregistration.k8s.io"
# The condition of a webhook that is called only for the pods that policies leave.
LEFT_BY_POLICY: Final = "left-by-policy"
_ESCAPED: Final = re.compile(r"\\(.)|\.\*|\.|\[\^")
_GLOBS: Final = {".*": "*", ".": "?", "[^": "[!"}


@dataclass(frozen=True, slots=True)
class PolicyEngine:
    """The policies and bindings of Azure Workload Identity; `served`: the API server has MutatingAdmissionPolicy."""

    served: bool = True
    policies: Sequence[JsonObject] = field(default=(), repr=False)
    bindings: Sequence[JsonObject] = field(default=(), repr=False)

    def injecting(self) -> list[JsonObject]:
        """The policies that inject."""
        return [policy for policy in self.policies if policy["kind"] == "MutatingAdmissionPolicy"]

    def bound(self) -> list[JsonObject]:
        """Those of them that have a binding."""
        return [policy for policy in self.injecting() if self.bindings_of(policy)]

    def bindings_of(self, policy: JsonObject) -> list[JsonObject]:
        """The bindings of a policy."""
        return [
            binding
            for binding in self.bindings
            if binding["kind"] == f"{policy['kind']}Binding"
            and binding["spec"].get("policyName") == policy["metadata"]["name"]
        ]

    def companions(self, policy: JsonObject) -> Iterator[JsonObject]:
        """The policies of the same installation, with their bindings: their names differ in the last word."""
        prefix = _prefix(policy)
        for other in self.policies:
            if _prefix(other) == prefix:
                yield other
                yield from self.bindings_of(other)


def _prefix(policy: JsonObject) -> str:
    return str(policy["metadata"]["name"]).rpartition("-")[0]


def is_workload_identity(policy: JsonObject) -> bool:
    """Whether a policy is of Azure Workload Identity: its variables look at the label that opts in, or at the mark."""
    variables = policy["spec"].get("variables") or ()
    return any(
        key in str(variable.get("expression")) for variable in variables for key in (names.USE_LABEL, names.REFUSED)
    )


def settings_of(policy: JsonObject) -> tuple[list[str], Mapping[str, str], IdentityMapping]:
    """The settings of a policy that injects, as a server's command line and variables, and the identity mapping.

    What is not as this project writes it counts as not set.
    """
    values: dict[str, Any] = {}
    for variable in policy["spec"].get("variables") or ():
        try:
            values[variable["name"]] = json.loads(variable["expression"])
        except ValueError:
            continue
    opt_in, host, tenant = values.get("optIn"), values.get("authorityHost"), values.get("defaultTenantId")
    line = [
        *([f"--opt-in={','.join(map(str, opt_in))}"] if isinstance(opt_in, list) else []),
        f"--audience={values.get('audience') or ''}",
        f"--service-account-token-expiration={values.get('defaultExpiration') or names.DEFAULT_TOKEN_EXPIRATION}",
    ]
    environ = {"AZURE_TENANT_ID": str(tenant or ""), "AZURE_AUTHORITY_HOST": str(host or "")}
    return line, environ, IdentityMapping(tuple(_entries(values)))


def _entries(values: Mapping[str, Any]) -> Iterator[MappingEntry]:
    accounts, patterns = values.get("mappedAccounts"), values.get("mappedPatterns")
    for key, identity in accounts.items() if isinstance(accounts, dict) else ():
        namespace, _, account = key.partition("/")
        yield MappingEntry(namespace, account, identity.get("clientId", ""), identity.get("tenantId", ""))
    for entry in patterns if isinstance(patterns, list) else ():
        places = _pattern(entry.get("namespace", "")), _pattern(entry.get("serviceAccount", ""))
        yield MappingEntry(*places, entry.get("clientId", ""), entry.get("tenantId", ""))


def _pattern(expression: str) -> str:
    """The pattern of a regular expression that webhook.admission_policy.settings makes of one."""
    inner = expression.removeprefix("^").removesuffix("$")
    return _ESCAPED.sub(lambda found: found[1] or _GLOBS[found[0]], inner)
