"""`azwi sync`: federated credentials as ServiceAccounts in Git or in the cluster say."""
