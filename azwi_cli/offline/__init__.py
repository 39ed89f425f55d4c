"""Admissions on this machine, by the webhook's own code: manifests in, decisions out."""
