"""The emulator over HTTPS, in a thread and an event loop of its own."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import jwt
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from tests.support.entra import errors
from tests.support.entra.directory import Directory, FederatedCredential
from tests.support.entra.errors import AadstsError
from tests.support.entra.exchange import TENANT, exchange, read_form
from tests.support.entra.faults import Faults
from tests.support.entra.keys import ALGORITHM, SigningKey

START_SECONDS: Final = 10.0
TOKEN_SECONDS: Final = 3599


@dataclass(frozen=True, slots=True)
class Exchange:
    """What was asked and what came of it. `code` is the AADSTS code, 0 without one; `host` is where it was sent."""

    time: float
    host: str
    tenant: str
    client_id: str
    scope: str
    status: int
    code: int


class Entra:
    """A running emulator: what it knows, what is wrong with it, what it was asked."""

    def __init__(self, directory: Path, host: str) -> None:
        self.url = ""
        self.ca_file = directory / "ca.crt"
        self.faults = Faults()
        self.exchanges: list[Exchange] = []
        self.token_lifetime = TOKEN_SECONDS
        self._host = host
        self._directory = Directory()
        self._key = SigningKey.generate()

    def trust(self, issuer: str, jwks: Mapping[str, Any]) -> None:
        """Know the keys of an issuer."""
        self._directory.trust(issuer, jwks)

    def trust_url(self, issuer: str, url: str, ca_file: Path, token: str | None = None) -> None:
        """Fetch the keys of an issuer over HTTPS, with a bearer token if one is given, for each of its assertions."""
        self._directory.trust_url(issuer, url, ca_file, token)

    def register(self, tenant_id: str, client_id: str, *credentials: FederatedCredential) -> None:
        """Make the tenant and the identity if there are none, and give the identity credentials.

        Raises:
            RegistrationError: A credential would not be taken.
        """
        self._directory.register(tenant_id, client_id, credentials)

    def verify(self, token: str) -> dict[str, Any]:
        """Check an access token as a resource would, except for its audience, and return its claims.

        Raises:
            jwt.InvalidTokenError: The emulator did not sign it, or it has expired.
        """
        options: Any = {"verify_aud": False}
        claims: dict[str, Any] = jwt.decode(
            token, self._key.private.public_key(), algorithms=[ALGORITHM], options=options
        )
        return claims

    def app(self) -> Starlette:
        """Make the endpoints of Entra."""
        return Starlette(
            routes=[
                Route("/common/discovery/instance", self._instance),
                Route("/{tenant}/v2.0/.well-known/openid-configuration", self._configuration),
                Route("/{tenant}/discovery/v2.0/keys", self._keys),
                Route("/{tenant}/oauth2/v2.0/token", self._token, methods=["POST", "GET", "PUT", "PATCH", "DELETE"]),
            ]
        )

    @contextmanager
    def token_proxy(self, directory: Path, sni_name: str, path: str = "") -> Iterator[str]:
        """Listen as the token proxy of AKS identity bindings too; yields what AZURE_KUBERNETES_TOKEN_PROXY has.

        Its certificate is of a CA of its own (`ca.crt` in `directory`) and for `sni_name` alone; a client that does
        not send this name in the handshake gets no connection. Below `path` it takes what Entra takes.
        """
        app = Starlette(routes=[Mount(path, self.app())]) if path else self.app()
        with _listening(app, _context(directory, sni_name, only=sni_name), self._host) as port:
            yield f"https://{self._host}:{port}{path}"

    async def _token(self, request: Request) -> Response:
        tenant = request.path_params["tenant"]
        trace_id, correlation_id = errors.new_id(), request.headers.get("client-request-id") or errors.new_id()
        form: Mapping[str, str] = {}
        code = 0
        body = await request.body()
        await anyio.sleep(self.faults.delay)
        response = self.faults.reply()
        if response is None:
            try:
                form = read_form(request.method, request.headers.get("content-type", ""), body)
                response = JSONResponse(await run_in_threadpool(self._exchange, tenant, form))
            except AadstsError as error:
                code = error.code
                response = JSONResponse(
                    errors.body(code, error.text, error.kind.error, trace_id, correlation_id), error.kind.status
                )
        response.headers.update({"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"})
        response.headers.update({"x-ms-request-id": trace_id, "client-request-id": correlation_id})
        asked = (request.headers.get("host", ""), tenant, form.get("client_id", ""), form.get("scope", ""))
        self.exchanges.append(Exchange(time.time(), *asked, response.status_code, code))
        return response

    def _exchange(self, tenant: str, form: Mapping[str, str]) -> dict[str, Any]:
        return exchange(tenant, form, self._directory, self.faults, self._key, self.token_lifetime)

    async def _instance(self, request: Request) -> Response:
        base = str(request.base_url)
        host = request.url.netloc
        return JSONResponse(
            {
                "tenant_discovery_endpoint": f"{base}common/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [{"preferred_network": host, "preferred_cache": host, "aliases": [host]}],
            }
        )

    async def _configuration(self, request: Request) -> Response:
        tenant = request.path_params["tenant"]
        if not TENANT.fullmatch(tenant) or not self._directory.has_tenant(tenant):
            error = AadstsError(90002, tenant=tenant)
            content = errors.body(error.code, error.text, "invalid_tenant", errors.new_id(), errors.new_id())
            return JSONResponse(content, error.kind.status)
        base = f"{request.base_url}{tenant}"
        return JSONResponse(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
            }
        )

    async def _keys(self, request: Request) -> Response:
        del request
        return JSONResponse(self._key.jwks)


@contextmanager
def entra(directory: Path, host: str = "127.0.0.1") -> Iterator[Entra]:
    """Run Entra on a free port of an address of this machine, and write its CA to `ca.crt` in the directory.

    Its certificate is for the address and for localhost.
    """
    emulator = Entra(directory, host)
    context = _context(directory, host, "localhost")
    with _listening(emulator.app(), context, host) as port:
        emulator.url = f"https://{host}:{port}"
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
def _listening(app: ASGIApp, context: ssl.SSLContext, host: str) -> Iterator[int]:
    config = uvicorn.Config(
        app,
        ssl_context_factory=lambda _config, _default: context,
        lifespan="off",
        log_config=None,
        log_level="critical",  # a cut answer is meant
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with socket.create_server((host, 0), backlog=2048) as listener:
        thread = threading.Thread(target=server.run, args=([listener],), name="entra", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the Entra emulator did not start")
        time.sleep(0.01)
