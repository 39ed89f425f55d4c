# The identity of the ServiceAccount shop/web, by azwi.

resource "azurerm_user_assigned_identity" "shop_web" {
  name                = "shop-web"
  resource_group_name = "identities"
  location            = "westeurope"
}

resource "azurerm_federated_identity_credential" "shop_web" {
  name                      = "shop-web-eb7f917227adba9b"
  user_assigned_identity_id = azurerm_user_assigned_identity.shop_web.id
  issuer                    = "https://oidc.example.com/"
  subject                   = "system:serviceaccount:shop:web"
  audience                  = ["api://AzureADTokenExchange"]
}

resource "kubernetes_service_account_v1" "shop_web" {
  metadata {
    name      = "web"
    namespace = "shop"
    annotations = {
      "azure.workload.identity/client-id" = azurerm_user_assigned_identity.shop_web.client_id
      "azure.workload.identity/tenant-id" = azurerm_user_assigned_identity.shop_web.tenant_id
    }
  }
}
