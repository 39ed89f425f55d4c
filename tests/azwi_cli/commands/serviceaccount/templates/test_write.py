"""`azwi serviceaccount create -o bicep|terraform|aso`, as people type it: nothing in Azure is called."""

import re
from typing import Any, Final

import pytest
import yaml
from click.testing import Result

from azure_workload_identity import names
from azwi_cli.commands.serviceaccount.templates import bicep, terraform
from azwi_cli.commands.serviceaccount.templates.identity import TemplateFormat
from azwi_cli.console.errors import Status
from testbed.azure_management import Azure
from tests.azwi_cli.commands.serviceaccount.conftest import ISSUER, Runs
from tests.azwi_cli.test_main import azwi

ACCOUNT: Final = ("--namespace=shop", "--service-account-name=web", f"--service-account-issuer-url={ISSUER}")
NAMED: Final = ("--identity-name=web", "--identity-resource-group=identities")
WEB: Final = (*ACCOUNT, *NAMED)
CREATED: Final = (*WEB, "--identity-location=westeurope")
MSI: Final = "Microsoft.ManagedIdentity/userAssignedIdentities"
SCOPE: Final = "/subscriptions/5f9c2b1a-0000-4000-8000-9b8e7d6c5a43"
HOSTILE: Final = "a'b\"c\\d ${e} %{f} $${g}\n\té\u202e\U000e0001"


def printed(language: str, *flags: str) -> str:
    """Return what is printed in a language."""
    done = azwi("sa", "create", "-o", language, *flags)
    assert done.exit_code == 0, done.output
    assert done.stderr == ""
    return done.stdout


def refused(language: str, *flags: str) -> Result:
    """Return a run that is wrong usage."""
    done = azwi("sa", "create", "-o", language, *flags)
    assert done.exit_code == Status.USAGE, done.output
    assert done.stdout == ""
    return done


def parsed(text: str) -> Any:  # noqa: ANN401  a syntax tree
    """Read Bicep by the grammar of pycep-parser."""
    return pytest.importorskip("pycep").BicepParser().parse(text=text)["resources"]


def unescaped(literal: str) -> str:
    """Return the value of a literal of Bicep without its quotes."""
    letters = {"n": "\n", "r": "\r", "t": "\t"}
    return re.sub(
        r"\\(?:u\{([0-9a-f]+)\}|(.))",
        lambda found: chr(int(found[1], 16)) if found[1] else letters.get(found[2], found[2]),
        literal,
    )


def test_bicep_is_what_azwi_sends(azure: Azure, runs: Runs) -> None:
    """The Bicep file declares what `azwi serviceaccount create` sends to Azure, which the emulator accepts."""
    runs.create(
        service_account_namespace="shop",
        identity_resource_id=f"{SCOPE}/resourceGroups/identities/providers/{MSI}/web",
        identity_location="westeurope",
    )
    (identity,) = azure.identities
    (credential,) = azure.credentials[identity["id"].lower()]
    resources = parsed(printed("bicep", *CREATED))
    assert resources["identity"]["type"] == MSI
    assert resources["identity"]["config"] == {"name": identity["name"], "location": identity["location"]}
    assert resources["credential"]["type"] == f"{MSI}/federatedIdentityCredentials"
    assert resources["credential"]["config"] == {
        "parent": "identity",
        "name": credential["name"],
        "properties": credential["properties"],
    }


def test_existing_identity() -> None:
    """Without a location the identity exists: Bicep and Terraform refer to it."""
    assert parsed(printed("bicep", *WEB))["identity"]["existing"] is True
    text = printed("terraform", *WEB)
    assert 'data "azurerm_user_assigned_identity" "shop_web"' in text
    assert "= data.azurerm_user_assigned_identity.shop_web.client_id" in text


@pytest.mark.parametrize("value", [HOSTILE, "\\${", "''"])
def test_hostile_text_in_bicep(value: str) -> None:
    """No text ends its literal or begins an expression in Bicep."""
    resources = parsed(f"resource x 'A.B/c@2023-01-31' = {{\n  name: {bicep.quoted(value)}\n}}")
    literal = resources["x"]["config"]["name"]
    assert isinstance(literal, str)
    assert unescaped(literal) == value
    assert not re.search(r"(?<!\\)(?:\\\\)*\$\{", literal)


def test_hostile_text_in_terraform() -> None:
    """No text ends its literal or begins a template in Terraform; its own parser reads it back in tests/clients."""
    assert terraform.quoted(HOSTILE) == (
        '"a\'b\\"c\\\\d $${e} %%{f} $$${g}\\n\\té\\u202e\\U000e0001"'
    )  # fmt: skip


def test_terraform() -> None:
    """Terraform gets the identity, its credential, a role and the annotated ServiceAccount, formatted as by fmt."""
    role = ("--azure-role=Reader", f"--azure-scope={SCOPE}")
    text = printed("terraform", *CREATED, *role, "--label", "--service-account-token-expiration=2h")
    assert text == TERRAFORM
    guid = "--azure-role=acdd72a7-3385-48ef-bd42-f606fba81ae7"
    assert "/roleDefinitions/acdd72a7-" in printed("terraform", *CREATED, guid, f"--azure-scope={SCOPE}")


TERRAFORM: Final = """\
# The identity of the ServiceAccount shop/web, by azwi.

resource "azurerm_user_assigned_identity" "shop_web" {
  name                = "web"
  resource_group_name = "identities"
  location            = "westeurope"
}

resource "azurerm_federated_identity_credential" "shop_web" {
  name                      = "shop-web-8da214395790f67d"
  user_assigned_identity_id = azurerm_user_assigned_identity.shop_web.id
  issuer                    = "https://127.0.0.1:1/"
  subject                   = "system:serviceaccount:shop:web"
  audience                  = ["api://AzureADTokenExchange"]
}

resource "azurerm_role_assignment" "shop_web" {
  scope                = "/subscriptions/5f9c2b1a-0000-4000-8000-9b8e7d6c5a43"
  role_definition_name = "Reader"
  principal_id         = azurerm_user_assigned_identity.shop_web.principal_id
  principal_type       = "ServicePrincipal"
}

resource "kubernetes_service_account_v1" "shop_web" {
  metadata {
    name      = "web"
    namespace = "shop"
    labels = {
      "azure.workload.identity/use" = "true"
    }
    annotations = {
      "azure.workload.identity/client-id"                        = azurerm_user_assigned_identity.shop_web.client_id
      "azure.workload.identity/tenant-id"                        = azurerm_user_assigned_identity.shop_web.tenant_id
      "azure.workload.identity/service-account-token-expiration" = "7200"
    }
  }
}
"""


def test_names_of_blocks() -> None:
    """A namespace that begins with a digit, and an account with dots, still name their blocks."""
    text = printed("terraform", *NAMED, "--namespace=9shop", "--service-account-name=a.b", ACCOUNT[2])
    assert '"azurerm_federated_identity_credential" "_9shop_a-b" {' in text


def test_aso() -> None:
    """The operator gets the identity, which writes its client id to a ConfigMap, its credential, and the account."""
    identity, credential, account = yaml.safe_load_all(printed("aso", *CREATED, "--label"))
    assert identity["spec"]["owner"] == {"name": "identities"}
    assert identity["spec"]["operatorSpec"]["configMaps"]["clientId"] == {"name": "web-identity", "key": "clientId"}
    assert credential["spec"]["owner"] == {"name": identity["metadata"]["name"]}
    assert credential["spec"]["subject"] == "system:serviceaccount:shop:web"
    assert account["metadata"]["labels"] == {names.USE_LABEL: "true"}
    (owned, *_) = yaml.safe_load_all(printed("aso", *CREATED, f"--subscription-id={SCOPE.rpartition('/')[2]}"))
    assert owned["spec"]["owner"] == {"armId": f"{SCOPE}/resourceGroups/identities"}


@pytest.mark.parametrize("language", TemplateFormat)
def test_hostile_location(language: str) -> None:
    """A location that cannot be one stays one value in every language."""
    text = printed(language, *WEB, f"--identity-location={HOSTILE}")
    if language == TemplateFormat.ASO:
        assert next(yaml.safe_load_all(text))["spec"]["location"] == HOSTILE
    else:
        quoted = bicep.quoted if language == TemplateFormat.BICEP else terraform.quoted
        assert quoted(HOSTILE) in text


def test_other_cloud() -> None:
    """The audience is that of the cloud."""
    assert "api://AzureADTokenExchangeChina" in printed("bicep", *CREATED, "--azure-env=AzureChinaCloud")


@pytest.mark.parametrize(
    ("language", "flags", "expected"),
    [
        ("bicep", ACCOUNT, "-o bicep is for a managed identity"),
        ("bicep", (*ACCOUNT, "--aad-application-name=web"), "-o bicep is for a managed identity"),
        ("aso", WEB, "-o aso needs --identity-location"),
        ("terraform", NAMED, "--service-account-name is required"),
        ("bicep", (*WEB, "--azure-role=Reader", f"--azure-scope={SCOPE}"), "-o bicep prints no role assignment"),
        ("terraform", (*WEB, "--azure-role=Reader"), "--azure-role and --azure-scope go together"),
        ("terraform", (*WEB, "--skip-phases=sa"), "--skip-phases does not go with -o terraform"),
        ("bicep", (*WEB, "--service-account-issuer-url=http://x.test"), "cannot be an issuer"),
    ],
)
def test_usage(language: str, flags: tuple[str, ...], expected: str) -> None:
    """What is missing, or cannot be said in a language, is wrong usage."""
    assert expected in refused(language, *flags).stderr


def test_phases_print_no_templates() -> None:
    """A phase alone has no template."""
    done = azwi("sa", "create", "phase", "managed-identity", *NAMED, "-o", "bicep")
    assert done.exit_code == Status.USAGE
    assert "'bicep' is not one of" in done.stderr
