"""Issuers."""
