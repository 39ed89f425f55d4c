"""A pod with the proxy in it, Entra and the real IMDS outside of it, in network namespaces."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from azure_workload_identity import names
from testbed.entra import Entra, FederatedCredential, Issuer, entra
from testbed.pods import CLIENT_ID, OTHER_CLIENT_ID, TENANT_ID
from testbed.processes import MAX_WAIT_SECONDS, running, wait_until
from testbed.program import ROOT
from tests.support import azure_app
from tests.support.azure_app import Tokens
from tests.support.listener import Listener, listener
from tests.support.netns import IMDS, Namespace, Network, network

LOGIN: Final = "login.microsoftonline.com"
MANAGEMENT: Final = "management.azure.com"  # which `az login` asks for subscriptions
BINDING_HOST: Final = "token-proxy.azwi.test"
SUBJECT: Final = "system:serviceaccount:shop:web"
PROXY: Final = str(Path(sys.executable).with_name("azwi-proxy"))


@dataclass(frozen=True)
class Outside:
    """The servers that a pod reaches: Entra under its own name, and the IMDS of the node, which it must not use."""

    network: Network
    entra: Entra
    imds: Listener


@contextmanager
def outside(directory: Path) -> Iterator[Outside]:
    """Make a pod's network with Entra and the real IMDS in it."""
    with (
        network(LOGIN, BINDING_HOST, MANAGEMENT) as made,
        listener("imds", made.node.listen((IMDS, 80))) as imds,
        entra(directory, LOGIN, made.node.listen(("0.0.0.0", 443)), (MANAGEMENT,)) as emulator,  # noqa: S104  of the node's namespace
    ):
        yield Outside(made, emulator, imds)


@contextmanager
def _proxy(pod: Namespace, log: Path, env: Mapping[str, str]) -> Iterator[None]:
    command = pod.command(PROXY, "--log-level=info", uid=names.PROXY_UID)
    with running(command, log, cwd=ROOT, env=env) as process:
        wait_until(lambda: pod.run(PROXY, "probe").returncode == 0, process, log, MAX_WAIT_SECONDS)
        yield


@dataclass(frozen=True)
class Pod:
    """A pod whose app may request tokens; `env` is the app's.

    The app knows nothing of workload identity: it lacks the variables that are injected for apps that do, to which the
    newer SDKs' managed-identity credentials belong.
    """

    outside: Outside
    env: Mapping[str, str]

    def app(self, resource: str, *credentials: str, uid: int | None = None) -> Tokens:
        """Run the app in the pod."""
        done = self.outside.network.pod.run(*azure_app.command(resource, *credentials), uid=uid, env=self.env)
        return azure_app.read(done)

    def curl(self, *arguments: str, uid: int | None = None) -> str:
        """Run curl in the pod, and return the status and the body that it gets."""
        command = ("curl", "--silent", "--max-time", "60", "--write-out", "\n%{http_code}", *arguments)
        body, _, status = self.outside.network.pod.run(*command, uid=uid).stdout.rpartition("\n")
        return f"{status} {body}"


@contextmanager
def pod(directory: Path, app_env: Mapping[str, str], *, redirect: bool) -> Iterator[Pod]:
    """Run a pod of SUBJECT, whose account has CLIENT_ID; its federated credentials also allow OTHER_CLIENT_ID."""
    issuer = Issuer()
    with outside(directory) as around:
        around.entra.trust(issuer.url, issuer.jwks)
        for client_id in (CLIENT_ID, OTHER_CLIENT_ID):
            around.entra.register(TENANT_ID, client_id, FederatedCredential(issuer.url, SUBJECT))
        token_file = directory / "azure-identity-token"
        token_file.write_text(issuer.token(SUBJECT))
        injected = {
            names.ENV_CLIENT_ID: CLIENT_ID,
            names.ENV_TENANT_ID: TENANT_ID,
            names.ENV_TOKEN_FILE: str(token_file),
            names.ENV_AUTHORITY_HOST: f"https://{LOGIN}/",
        }
        trust = {"SSL_CERT_FILE": str(around.entra.ca_file), "REQUESTS_CA_BUNDLE": str(around.entra.ca_file)}
        if redirect:
            written = around.network.pod.run(PROXY, "init")
            assert written.returncode == 0, written.stderr
        with _proxy(around.network.pod, directory / "azwi-proxy.log", {**injected, **trust}):
            other = {azure_app.OTHER_CLIENT_ID: OTHER_CLIENT_ID}
            yield Pod(around, {**other, **app_env})
