"""The emulator over HTTPS, in a thread and an event loop of its own."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import jwt
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Host, Mount, Route
from starlette.types import ASGIApp

from azure_workload_identity.types import JsonObject
from testbed.entra import documents, errors
from testbed.entra.directory import Directory, FederatedCredential
from testbed.entra.errors import AadstsError
from testbed.entra.exchange import USER_TENANTS, Signer, exchange, read_form
from testbed.entra.faults import Faults
from testbed.entra.keys import ALGORITHM, SigningKey

LOOPBACK: Final = ("127.0.0.1", 0)
BACKLOG: Final = 2048
START_SECONDS: Final = 60.0
TOKEN_SECONDS: Final = 3599


@dataclass(frozen=True, slots=True)
class Exchange:
    """One token request and its result.

    `code` is the AADSTS code, 0 without one; `host` is where it was sent; `assertion` is what was to be believed.
    """

    time: float
    host: str
    user_agent: str
    tenant: str
    client_id: str
    scope: str
    status: int
    code: int
    assertion: str = field(default="", repr=False)


class Entra:
    """A running emulator: its directory, its switched-on faults, the requests it received."""

    def __init__(self, url: str, ca_file: Path) -> None:
        self.url = url
        self.ca_file = ca_file
        self.faults = Faults()
        self.exchanges: list[Exchange] = []
        self.token_lifetime = TOKEN_SECONDS
        self._directory = Directory()
        self._key = SigningKey.generate()

    def trust(self, issuer: str, jwks: Mapping[str, Any]) -> None:
        """Register the keys of an issuer."""
        self._directory.trust(issuer, jwks)

    def trust_url(self, issuer: str, url: str, ca_file: Path, token: str | None = None) -> None:
        """Fetch the keys of an issuer over HTTPS for each of its assertions, with an optional bearer token."""
        self._directory.trust_url(issuer, url, ca_file, token)

    def register(self, tenant_id: str, client_id: str, *credentials: FederatedCredential, managed: bool = True) -> None:
        """Create the tenant and the identity if they do not exist, and add credentials to the identity.

        It is a managed identity, or else an app registration.

        Raises:
            RegistrationError: A credential would not be taken.
        """
        self._directory.register(tenant_id, client_id, credentials, managed=managed)
        self._directory.trust_own(tenant_id, self.issuer(tenant_id), self._key.jwks)

    def provision(self, tenant_id: str, client_id: str, home: str) -> None:
        """Add a multitenant application of the tenant `home` to another tenant, as `az ad sp create --id` does."""
        self._directory.provision(tenant_id, client_id, home)
        self._directory.trust_own(tenant_id, self.issuer(tenant_id), self._key.jwks)

    def object_id(self, tenant_id: str, client_id: str) -> str:
        """The object id of an identity's service principal, the subject of its tokens."""
        return self._directory.identity(tenant_id, client_id).object_id

    def issuer(self, tenant_id: str) -> str:
        """The issuer of a tenant's own tokens of version 2.0, which an application may trust."""
        return f"{self.url}/{tenant_id}/v2.0"

    def verify(self, token: str) -> JsonObject:
        """Check an access token as a resource would, except for its audience, and return its claims.

        Raises:
            jwt.InvalidTokenError: The emulator did not sign it, or it has expired.
        """
        options: Any = {"verify_aud": False}
        claims: JsonObject = jwt.decode(token, self._key.private.public_key(), algorithms=[ALGORITHM], options=options)
        return claims

    def app(self, resources: Mapping[str, Callable[["Entra"], ASGIApp]] | None = None) -> Starlette:
        """The endpoints of Entra, and by their hosts those of resources that accept its tokens."""
        return Starlette(
            routes=[
                *(Host(host, make(self)) for host, make in (resources or {}).items()),
                Route("/common/discovery/instance", self._instance),
                Route("/subscriptions", self._subscriptions),
                Route("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration),
                Route("/{tenant}/discovery/v2.0/keys", self._keys),
                Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST", "GET", "PUT", "PATCH", "DELETE"]),
            ]
        )

    @contextmanager
    def token_proxy(
        self, directory: Path, sni_name: str, path: str = "", listener: socket.socket | None = None
    ) -> Iterator[str]:
        """Listen as the token proxy of AKS identity bindings too; yields the value of AZURE_KUBERNETES_TOKEN_PROXY.

        Its certificate is of a CA of its own (`ca.crt` in `directory`) and for `sni_name` alone; a client that does
        not send this name in the handshake gets no connection. Below `path` it takes what Entra takes.
        """
        app = Starlette(routes=[Mount(path, self.app())]) if path else self.app()
        with listener or socket.create_server(LOOPBACK, backlog=BACKLOG) as bound:
            address, port = bound.getsockname()[:2]
            with _serving(app, _context(directory, sni_name, only=sni_name), bound):
                yield f"https://{address}:{port}{path}"

    async def _token(self, request: Request) -> Response:
        tenant, body = request.path_params["tenant"], await request.body()
        ids = (errors.new_id(), request.headers.get("client-request-id") or errors.new_id())
        form: Mapping[str, str] = {}
        code = 0
        await self.faults.wait()
        response = self.faults.reply()
        if response is None:
            try:
                form = read_form(request.method, request.headers.get("content-type", ""), body)
                response = JSONResponse(await run_in_threadpool(self._exchange, tenant, form))
            except AadstsError as error:
                code = error.code
                response = JSONResponse(errors.body(error, *ids), error.kind.status)
        response.headers.update({"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})
        response.headers.update({"x-ms-request-id": ids[0], "client-request-id": ids[1]})
        sender = (request.headers.get("host", ""), request.headers.get("user-agent", ""))
        asked = (*sender, tenant, form.get("client_id", ""), form.get("scope", ""))
        self.exchanges.append(
            Exchange(time.time(), *asked, response.status_code, code, form.get("client_assertion", ""))
        )
        return response

    def _exchange(self, tenant: str, form: Mapping[str, str]) -> JsonObject:
        signer = Signer(self._key, self.token_lifetime, self.issuer(tenant))
        return exchange(tenant, form, self._directory, self.faults, signer)

    async def _configuration(self, request: Request) -> Response:
        tenant = request.path_params["tenant"]
        # `az logout` and MSAL discover the authority `organizations` as well.
        if not self._directory.has_tenant(tenant) and tenant not in USER_TENANTS:
            error = AadstsError(90002, tenant=tenant)
            return JSONResponse({**errors.body(error), "error": "invalid_tenant"}, error.kind.status)
        return JSONResponse(documents.configuration(_base(request), tenant))

    async def _subscriptions(self, request: Request) -> Response:
        """Azure Resource Manager's list, which `az login` reads with its new token: the identity has none."""
        del request
        return JSONResponse({"value": []})

    async def _instance(self, request: Request) -> Response:
        return JSONResponse(documents.instance(_base(request)))

    async def _keys(self, request: Request) -> Response:
        del request
        return JSONResponse(self._key.jwks)


def _base(request: Request) -> str:
    return str(request.base_url).removesuffix("/")


@contextmanager
def entra(
    directory: Path,
    name: str = "127.0.0.1",
    listener: socket.socket | None = None,
    aliases: tuple[str, ...] = (),
    resources: Mapping[str, Callable[[Entra], ASGIApp]] | None = None,
) -> Iterator[Entra]:
    """Run Entra under a name (or address) and write its CA to `ca.crt` in the directory.

    It listens on a free port of loopback unless it is given a listening socket, which it closes in the end. Its
    certificate is for the name, for its aliases and for localhost. `resources` are other hosts that it answers for,
    each with the app of a resource that accepts its tokens.
    """
    with listener or socket.create_server(LOOPBACK, backlog=BACKLOG) as bound:
        emulator = Entra(f"https://{name}:{bound.getsockname()[1]}".removesuffix(":443"), directory / "ca.crt")
        names = (name, "localhost", *aliases, *(resources or {}))
        with _serving(emulator.app(resources), _context(directory, *names), bound):
            yield emulator


def _context(directory: Path, *names: str, only: str | None = None) -> ssl.SSLContext:
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(directory / "ca.crt"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    if only is not None:
        context.sni_callback = lambda _socket, name, _context: (
            None if name == only else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        )
    return context


@contextmanager
def _serving(app: ASGIApp, context: ssl.SSLContext, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        app,
        ssl_context_factory=lambda _config, _default: context,
        lifespan="off",
        log_config=None,
        log_level="critical",  # a cut answer is meant
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), name="entra", daemon=True)
    thread.start()
    try:
        _wait_until_started(server, thread)
        yield
    finally:
        server.should_exit = True
        thread.join()


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the Entra emulator did not start")
        time.sleep(0.01)
