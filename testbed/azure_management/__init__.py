"""ARM, Microsoft Graph and Azure Storage at the wire, as far as `azwi` calls them: strict, on loopback, over TLS.

`with azure_management(directory) as azure:` gives the state of a tenant and the listeners in front of it. What is
refused is refused with Azure's own codes; `azure.faults` throttles, fails, delays and hides.
"""

from testbed.azure_management.server import azure_management
from testbed.azure_management.state import Azure, Failure

__all__ = ["Azure", "Failure", "azure_management"]
