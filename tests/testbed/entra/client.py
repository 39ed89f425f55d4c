"""A client that sends token requests as an SDK does, or wrong ones."""

import ssl
from dataclasses import dataclass, field
from urllib.parse import urlencode
from uuid import uuid4

import httpx

from azure_workload_identity.types import JsonObject
from testbed.entra import Entra, Issuer
from testbed.entra.exchange import JWT_BEARER
from testbed.processes import MAX_WAIT_SECONDS

TENANT = "5a3ae6a4-9d1f-4c22-a4a5-1e6f0fd1d4a1"
SCOPE = "https://vault.azure.net/.default"


@dataclass
class Client:
    """An identity's app: `ask` sends a valid request with the given changes."""

    entra: Entra
    issuer: Issuer
    tenant: str = TENANT
    subject: str = "system:serviceaccount:shop:web"
    client_id: str = field(default_factory=lambda: str(uuid4()))

    def form(self, **changes: str | None) -> dict[str, str]:
        """Write the parameters of a request; None leaves one out."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self.client_id,
            "scope": SCOPE,
            "client_assertion_type": JWT_BEARER,
            "client_assertion": self.issuer.token(self.subject),
            **changes,
        }
        return {name: value for name, value in form.items() if value is not None}

    def ask(self, tenant: str | None = None, **changes: str | None) -> httpx.Response:
        """Send a request."""
        return self.send(f"/{tenant or self.tenant}/oauth2/v2.0/token", urlencode(self.form(**changes)))

    def send(self, path: str, body: str = "", method: str = "POST", **headers: str) -> httpx.Response:
        """Send anything."""
        context = ssl.create_default_context(cafile=self.entra.ca_file)
        with httpx.Client(verify=context, trust_env=False, timeout=MAX_WAIT_SECONDS) as http:
            kind = {"content-type": "application/x-www-form-urlencoded"}
            return http.request(method, self.entra.url + path, content=body, headers={**kind, **headers})

    def refused(self, tenant: str | None = None, **changes: str | None) -> tuple[int, str, int]:
        """Send a request that is refused; its status, OAuth error and AADSTS code."""
        return refusal(self.ask(tenant, **changes))


def refusal(response: httpx.Response) -> tuple[int, str, int]:
    """Read the answer to a request that was refused."""
    content: JsonObject = response.json()
    (code,) = content["error_codes"]
    assert content["error_description"].startswith(f"AADSTS{code}: ")
    return response.status_code, content["error"], code
