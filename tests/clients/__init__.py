"""Clients that people use, unmodified, with the proxy: the SDKs of four languages, `az`, MSAL and curl."""
