"""An emulator of Microsoft Entra's token endpoint, as strict as the real one.

A token request is handled by `exchange.exchange`; assertions are verified in `assertion`; every failure
with its status, code and text is in `errors`.
"""

from testbed.entra.directory import FederatedCredential, RegistrationError
from testbed.entra.faults import Faults
from testbed.entra.keys import Issuer
from testbed.entra.server import Entra, Exchange, entra

__all__ = ["Entra", "Exchange", "Faults", "FederatedCredential", "Issuer", "RegistrationError", "entra"]
