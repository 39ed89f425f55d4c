"""Where ServiceAccounts come from."""
