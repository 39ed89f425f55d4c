"""The IMDS proxy: a sidecar that serves apps that only know managed identity."""
