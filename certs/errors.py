"""The error of everything that provides certificates."""


class CertificateError(Exception):
    """There is no usable certificate; the message says how to fix it."""


class ForeignCertificateError(CertificateError):
    """The Secret holds a valid certificate of another program; the message says which."""
