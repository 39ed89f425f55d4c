"""The identity in Terraform's language, for the providers azurerm (5) and kubernetes.

https://github.com/hashicorp/terraform-provider-azurerm/blob/main/website/docs/r/federated_identity_credential.html.markdown
"""

import re
from collections.abc import Mapping
from typing import Final

from azure_workload_identity import names
from azwi_cli.commands.serviceaccount.templates.identity import Template
from webhook.admission.values import is_uuid

# https://developer.hashicorp.com/terraform/language/expressions/strings
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_FIRST_ASTRAL: Final = 0x10000

# A name of an argument → an expression, or the arguments of a block.
Arguments = Mapping[str, "str | Arguments"]


def text(template: Template) -> str:
    """The whole file."""
    label = _label(template)
    kind = "resource" if template.location else "data"
    reference = f"{'' if template.location else 'data.'}azurerm_user_assigned_identity.{label}"
    blocks = [
        _block(kind, "azurerm_user_assigned_identity", label, _identity(template)),
        _block("resource", "azurerm_federated_identity_credential", label, _credential(template, reference)),
        *([_block("resource", "azurerm_role_assignment", label, _role(template, reference))] if template.role else []),
        _block("resource", "kubernetes_service_account_v1", label, {"metadata": _metadata(template, reference)}),
    ]
    return f"# The identity of the ServiceAccount {template.account}, by azwi.\n\n" + "\n\n".join(blocks)


def _identity(template: Template) -> Arguments:
    place = {"location": quoted(template.location)} if template.location else {}
    return {"name": quoted(template.name), "resource_group_name": quoted(template.group), **place}


def _credential(template: Template, reference: str) -> Arguments:
    return {
        "name": quoted(template.credential),
        "user_assigned_identity_id": f"{reference}.id",
        "issuer": quoted(template.trust.issuer),
        "subject": quoted(template.trust.subject),
        "audience": f"[{quoted(template.trust.audience)}]",
    }


def _role(template: Template, reference: str) -> Arguments:
    guid = is_uuid(template.role)
    path = f"/providers/Microsoft.Authorization/roleDefinitions/{template.role}"
    role = {"role_definition_id": quoted(path)} if guid else {"role_definition_name": quoted(template.role)}
    return {
        "scope": quoted(template.scope),
        **role,
        "principal_id": f"{reference}.principal_id",
        "principal_type": quoted("ServicePrincipal"),
    }


def _metadata(template: Template, reference: str) -> Arguments:
    annotations = {names.CLIENT_ID: f"{reference}.client_id", names.TENANT_ID: f"{reference}.tenant_id"}
    if template.token_expiration != names.DEFAULT_TOKEN_EXPIRATION:
        annotations[names.TOKEN_EXPIRATION] = quoted(str(template.token_expiration))
    labels = {"labels": _map({names.USE_LABEL: quoted("true")})} if template.label else {}
    return {
        "name": quoted(template.trust.service_account),
        "namespace": quoted(template.trust.namespace),
        **labels,
        "annotations": _map(annotations),
    }


def _block(kind: str, provider: str, label: str, arguments: Arguments) -> str:
    return f'{kind} "{provider}" "{label}" {{\n{_body(arguments, 1)}}}'


def _body(arguments: Arguments, depth: int) -> str:
    """Arguments as `terraform fmt` writes them: in each group of single lines the equals signs are aligned."""
    indent = "  " * depth
    width = max((len(name) for name, value in arguments.items() if _single(value)), default=0)
    lines = []
    for name, value in arguments.items():
        if not isinstance(value, str):
            lines.append(f"{indent}{name} {{\n{_body(value, depth + 1)}{indent}}}\n")
        elif _single(value):
            lines.append(f"{indent}{name.ljust(width)} = {value}\n")
        else:
            lines.append(f"{indent}{name} = {value}\n".replace("\n", f"\n{indent}").removesuffix(indent))
    return "".join(lines)


def _single(value: object) -> bool:
    return isinstance(value, str) and "\n" not in value


def _map(entries: Mapping[str, str]) -> str:
    width = max(len(quoted(name)) for name in entries)
    lines = [f"  {quoted(name).ljust(width)} = {value}\n" for name, value in entries.items()]
    return "{\n" + "".join(lines) + "}"


def _label(template: Template) -> str:
    """A name for the blocks: a namespace has no underscore, so it is this account's alone up to dots in its name."""
    label = f"{template.trust.namespace}_{re.sub('[.]', '-', template.trust.service_account)}"
    return label if label[0].isalpha() else f"_{label}"


def quoted(value: str) -> str:
    """A string literal; `${` and `%{` would begin a template."""
    escaped = "".join(_ESCAPES.get(letter) or _printable(letter) for letter in value)
    return f'"{escaped.replace("${", "$${").replace("%{", "%%{")}"'


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    number = ord(letter)
    return f"\\u{number:04x}" if number < _FIRST_ASTRAL else f"\\U{number:08x}"
