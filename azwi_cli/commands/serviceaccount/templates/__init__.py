"""`azwi serviceaccount create -o bicep|terraform|aso`: prints what would be created, for tools that create it.

`identity` is what all of them describe; `bicep`, `terraform` and `aso` write it, each in its own language.
"""
