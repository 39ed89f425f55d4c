"""A ServiceAccount issuer: its discovery document and its public keys."""
