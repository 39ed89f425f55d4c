"""The IMDS proxy that serves managed-identity apps in a pod."""
