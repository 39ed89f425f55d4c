"""Migration from aad-pod-identity."""
