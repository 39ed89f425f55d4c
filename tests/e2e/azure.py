"""Azure's side, on the machine's end of the link to the node: Entra and the token proxy of identity bindings."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from azure_workload_identity.types import JsonObject
from azwi_cli.issuer import discovery
from testbed.cluster.control_plane import Cluster
from testbed.cluster.server import TENANT_ID
from testbed.entra import Entra, FederatedCredential, entra
from testbed.pods import CLIENT_ID, OTHER_CLIENT_ID
from tests.cluster.support.node.configuration import ISSUER, MACHINE

LOGIN: Final = "login.microsoftonline.com"
BINDING_HOST: Final = "token-proxy.azwi.test"
BINDING_AUDIENCE: Final = "api://AKSIdentityBinding"


@dataclass(frozen=True, slots=True)
class Azure:
    """Entra under its own name, which pods find by DNS, and the token proxy with a CA of its own."""

    entra: Entra
    token_proxy: str
    token_proxy_ca: str

    def trust(self, namespace: str, account: str = "app", audience: str = names.DEFAULT_AUDIENCE) -> None:
        """Give both identities a federated credential for a ServiceAccount."""
        credential = FederatedCredential(ISSUER, f"system:serviceaccount:{namespace}:{account}", audience)
        for client_id in (CLIENT_ID, OTHER_CLIENT_ID):
            self.entra.register(TENANT_ID, client_id, credential)

    def client_id(self, token: str) -> str:
        """Check an access token as a resource would, and return whose it is."""
        claims: JsonObject = self.entra.verify(token)
        assert claims["tid"] == TENANT_ID
        return str(claims["appid"])


@contextmanager
def azure(cluster: Cluster, directory: Path) -> Iterator[Azure]:
    """Run Azure's side; it fetches the keys of the cluster's issuer from the API server for every assertion."""
    bindings = directory / "bindings"
    bindings.mkdir()
    with (
        entra(directory, LOGIN, socket.create_server((MACHINE, 443))) as emulator,
        emulator.token_proxy(bindings, BINDING_HOST, listener=socket.create_server((MACHINE, 0))) as token_proxy,
    ):
        reader = cluster.token("default", "default")
        emulator.trust_url(ISSUER, cluster.url + discovery.JWKS_PATH, cluster.ca_file, reader)
        yield Azure(emulator, token_proxy, (bindings / "ca.crt").read_text())
