"""Admission policies: the webhook's decisions as CEL."""
