"""The clients of Azure."""
