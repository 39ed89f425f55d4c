# The chart from an OCI registry. The identity of a ServiceAccount is in shop-web.tf, printed by
#   azwi serviceaccount create --namespace shop --service-account-name web \
#     --service-account-issuer-url https://oidc.example.com/ --identity-name shop-web \
#     --identity-resource-group identities --identity-location westeurope -o terraform
terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 5.0"
    }
    helm = {
      source = "hashicorp/helm"
    }
    kubernetes = {
      source = "hashicorp/kubernetes"
    }
  }
}

provider "azurerm" {
  features {}
}

resource "helm_release" "azwi" {
  name             = "azwi"
  namespace        = "azwi-system"
  create_namespace = true
  repository       = "oci://registry.example.com/identity/charts"
  chart            = "workload-identity-webhook"
  version          = "0.1.0"
  values           = [file("${path.module}/values.yaml")]
}
