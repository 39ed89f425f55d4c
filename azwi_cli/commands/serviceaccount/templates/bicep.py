"""The identity in Bicep, for a deployment to its resource group.

https://learn.microsoft.com/azure/templates/microsoft.managedidentity/userassignedidentities
"""

import shlex
from typing import Final

from azwi_cli.azure.ids import MSI
from azwi_cli.commands.serviceaccount.templates.identity import API_VERSION, Template

# https://learn.microsoft.com/azure/azure-resource-manager/bicep/data-types#strings
_ESCAPES: Final = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def text(template: Template) -> str:
    """The whole file."""
    group = shlex.quote(template.group)
    return f"""// The identity of the ServiceAccount {template.account}, by azwi. Deploy it to its resource group:
//   az deployment group create --resource-group {group} --template-file FILE
// and annotate the ServiceAccount with its client id:
//   azwi serviceaccount create phase service-account --service-account-namespace {template.trust.namespace} \\
//     --service-account-name {template.trust.service_account} --identity-resource-group {group} \\
//     --identity-name {template.name}

{_identity(template)}

resource credential '{MSI}/federatedIdentityCredentials@{API_VERSION}' = {{
  parent: identity
  name: {quoted(template.credential)}
  properties: {{
    issuer: {quoted(template.trust.issuer)}
    subject: {quoted(template.trust.subject)}
    audiences: [
      {quoted(template.trust.audience)}
    ]
  }}
}}

output clientId string = identity.properties.clientId
output tenantId string = identity.properties.tenantId"""


def _identity(template: Template) -> str:
    head = f"resource identity '{MSI}@{API_VERSION}'"
    if not template.location:
        return f"{head} existing = {{\n  name: {quoted(template.name)}\n}}"
    return f"{head} = {{\n  name: {quoted(template.name)}\n  location: {quoted(template.location)}\n}}"


def quoted(value: str) -> str:
    """A string literal; `${` would begin an expression."""
    escaped = "".join(_ESCAPES.get(letter) or _printable(letter) for letter in value)
    return f"'{escaped.replace('${', chr(92) + '${')}'"


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else f"\\u{{{ord(letter):x}}}"
