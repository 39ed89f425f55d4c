"""The identity as objects of Azure Service Operator, with the ServiceAccount.

https://azure.github.io/azure-service-operator/reference/managedidentity/v1api20230131/
"""

from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.commands.serviceaccount.account import LABEL
from azwi_cli.commands.serviceaccount.templates.identity import Template
from azwi_cli.console import output

_VERSION: Final = "managedidentity.azure.com/v1api20230131"
CLIENT_ID: Final = "clientId"
TENANT_ID: Final = "tenantId"


def text(template: Template) -> str:
    """The whole file."""
    namespace, config = template.trust.namespace, _config(template)
    head = f"""# The identity of the ServiceAccount {template.account}, by azwi. The operator creates it and writes its
# client id to the ConfigMap {config}. An annotation cannot refer to that, so set it when it is there:
#   id=$(kubectl --namespace {namespace} get configmap {config} --output jsonpath='{{.data.{CLIENT_ID}}}')
#   kubectl --namespace {namespace} annotate serviceaccount {template.trust.service_account} {names.CLIENT_ID}=$id
"""
    return head + output.as_documents([_identity(template), _credential(template), _account(template)]).rstrip("\n")


def _identity(template: Template) -> JsonObject:
    config = {key: {"name": _config(template), "key": key} for key in (CLIENT_ID, TENANT_ID)}
    spec = {
        "azureName": template.name,
        "location": template.location,
        "owner": _group(template),
        "operatorSpec": {"configMaps": config},
    }
    return _object("UserAssignedIdentity", template, _name(template), spec)


def _group(template: Template) -> JsonObject:
    """The resource group: by its id, or as an object of the operator in the namespace."""
    if not template.subscription:
        return {"name": template.group}
    return {"armId": f"/subscriptions/{template.subscription}/resourceGroups/{template.group}"}


def _credential(template: Template) -> JsonObject:
    trust = template.trust
    spec = {
        "azureName": template.credential,
        "owner": {"name": _name(template)},
        "issuer": trust.issuer,
        "subject": trust.subject,
        "audiences": [trust.audience],
    }
    return _object("FederatedIdentityCredential", template, _name(template), spec)


def _object(kind: str, template: Template, name: str, spec: JsonObject) -> JsonObject:
    metadata = {"name": name, "namespace": template.trust.namespace}
    return {"apiVersion": _VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _account(template: Template) -> JsonObject:
    metadata: JsonObject = {"name": template.trust.service_account, "namespace": template.trust.namespace}
    if template.token_expiration != names.DEFAULT_TOKEN_EXPIRATION:
        metadata["annotations"] = {names.TOKEN_EXPIRATION: str(template.token_expiration)}
    if template.label:
        metadata["labels"] = LABEL
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


def _name(template: Template) -> str:
    return template.trust.service_account


def _config(template: Template) -> str:
    return f"{template.trust.service_account}-identity"
