"""Azure Resource Manager and Microsoft Graph, as far as identities need them, on azure-core."""
