"""The exchange of the pod's projected token for an access token, with the retries that can help."""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import orjson

from azure_workload_identity import __version__, entra, names
from azure_workload_identity.entra import Kind, Refusal
from imds_proxy import client
from imds_proxy.client import ClientError, ClientRequest, ClientResponse
from imds_proxy.clock import Clock
from imds_proxy.http_proxy import HttpProxyError, proxy_for
from imds_proxy.request import MAX_RETRY_AFTER, ImdsError, TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.settings import Origin, Settings, TokenProxy
from imds_proxy.trust import Trust

ATTEMPT_SECONDS: Final = 8.0
TOTAL_SECONDS: Final = 20.0
MAX_BODY: Final = 256 << 10
MAX_ASSERTION: Final = 64 << 10
MAX_LIFETIME: Final = 10 * 86400
RETRY_AFTER: Final = 5
# The longest wait that is accepted from Entra.
MAX_HOLD_OFF: Final = 300
SUCCESS: Final = 200
# Seconds before each further attempt. An outage that lasts longer is reported; SDKs then retry themselves.
WAITS: Final = {
    Kind.PERMANENT: (),
    Kind.PROPAGATING: (1.0, 2.0, 4.0, 8.0),
    Kind.THROTTLED: (1.0, 2.0),
    Kind.OUTAGE: (0.2, 0.6, 1.8),
}
# SDKs give up on a 400 at once, and retry after a 429 or 503.
STATUS: Final = {Kind.PERMANENT: 400, Kind.PROPAGATING: 400, Kind.THROTTLED: 429, Kind.OUTAGE: 503}

OnAttempt: TypeAlias = Callable[[str, float], None]

log = logging.getLogger("imds_proxy.exchange")


class ExchangeError(ImdsError):
    """An exchange failed; `hold_off` is the server's Retry-After in seconds, `code` the AADSTS code, 0 without one."""

    def __init__(self, kind: Kind, error: str, message: str, hold_off: float = 0, code: int = 0) -> None:
        is_transient = kind in {Kind.THROTTLED, Kind.OUTAGE}
        retry_after = min(max(RETRY_AFTER, round(hold_off)), MAX_RETRY_AFTER) if is_transient else 0
        super().__init__(STATUS[kind], error, message, retry_after, hold_off)
        self.kind = kind
        self.code = code


def outage(message: str, hold_off: float = 0) -> ExchangeError:
    """A transient failure."""
    return ExchangeError(Kind.OUTAGE, "temporarily_unavailable", message, hold_off)


class Exchange:
    """Exchanges until there is a token, or no further attempt can help.

    `on_attempt` is called after every attempt, with "success" or the kind of its error, and its seconds.
    """

    def __init__(
        self, settings: Settings, trust: Trust, clock: Clock, on_attempt: Callable[[str, float], None]
    ) -> None:
        self._settings = settings
        self._trust = trust
        self._clock = clock
        self._on_attempt = on_attempt

    async def __call__(self, request: TokenRequest) -> AccessToken:
        """A new token.

        Raises:
            ExchangeError: the failure of the last attempt.
        """
        started, attempts = self._clock.monotonic(), 0
        while True:
            try:
                token = await self._attempt(request)
            except ExchangeError as error:
                wait = self._wait(error, attempts)
                if wait is None or self._clock.monotonic() - started + wait > TOTAL_SECONDS:
                    log.warning("no token for %s: %s", request.resource, error.message)
                    raise
                log.warning("no token for %s yet, trying again in %.1f s: %s", request.resource, wait, error.message)
                await self._clock.sleep(wait)
                attempts += 1
            else:
                log.info("a token for %s, for %.0f s", request.resource, token.expires - token.requested)
                return token

    def _wait(self, error: ExchangeError, attempts: int) -> float | None:
        """Seconds until the next attempt, at least the server's Retry-After; None when there is no further attempt."""
        waits = WAITS[error.kind]
        if attempts >= len(waits):
            return None
        # Between half and all of it, so that many pods do not come back together.
        return max(error.hold_off, waits[attempts] * (1 + self._clock.random()) / 2)

    async def _attempt(self, request: TokenRequest) -> AccessToken:
        started = self._clock.monotonic()
        try:
            assertion = await self._assertion()
            started = self._clock.monotonic()
            token = await self._exchange(request, assertion)
        except ExchangeError as error:
            self._on_attempt(error.kind, self._clock.monotonic() - started)
            raise
        finally:
            # A TLS connection of asyncio's is a cycle around a buffer of 256 KiB, in the youngest generations.
            gc.collect(1)
        self._on_attempt("success", self._clock.monotonic() - started)
        return token

    async def _assertion(self) -> str:
        """What proves the identity."""
        return read_assertion(self._settings.token_file)

    async def _exchange(self, request: TokenRequest, assertion: str) -> AccessToken:
        outgoing = self._client_request(request, assertion)
        host = outgoing.origin.netloc
        response: ClientResponse | None = None
        requested = self._clock.monotonic()
        try:
            proxy = proxy_for(outgoing.origin, self._settings.environ)
            async with asyncio.timeout(ATTEMPT_SECONDS):
                response = await client.send(outgoing, self._trust, proxy)
                body = await response.body(MAX_BODY)
        except (TimeoutError, ClientError, HttpProxyError) as error:
            if response is None or entra.kind_by_status(response.status) is Kind.PERMANENT:
                late = f"{host} did not answer within {ATTEMPT_SECONDS:g} s"
                raise outage(late if isinstance(error, TimeoutError) else str(error)) from error
            body = b""  # the status of a transient failure says enough
        finally:
            if response is not None:
                response.close()
        document = _decode(body)
        if response.status == SUCCESS:
            return _token(document, requested, host)
        refusal = entra.refusal(response.status, document)
        raise _error(response, refusal, host, self._advice(refusal, assertion))

    def _client_request(self, request: TokenRequest, assertion: str) -> ClientRequest:
        settings = self._settings
        return client_request(settings.authority, settings.tenant_id, request, assertion, settings.token_proxy)

    def _advice(self, refusal: Refusal, assertion: str) -> str:
        """What to do about an error of Entra's."""
        claims = entra.claims(assertion, entra.SUBJECT_CLAIMS)
        pairs = (f"{name} {value}" for name, value in claims.items())
        shown = ", ".join(pairs) if refusal.code in _ASSERTION_CODES else ""
        return refusal.meaning.remedy + (f". The pod's token has {shown}" if shown else "")


def client_request(
    authority: Origin, tenant_id: str, request: TokenRequest, assertion: str, endpoint: TokenProxy | None = None
) -> ClientRequest:
    """The token request to a tenant, which is sent to a custom token endpoint if there is one."""
    path = authority.path + entra.token_path(tenant_id)
    return ClientRequest(
        method="POST",
        origin=endpoint.origin if endpoint else authority,
        target=endpoint.origin.path + path if endpoint else path,
        headers=(
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
            ("user-agent", f"azwi-proxy/{__version__}"),
        ),
        body=urlencode(entra.token_form(request.client_id, request.scope, assertion)).encode(),
        server_name=endpoint.sni if endpoint else "",
    )


def read_assertion(file: str) -> str:
    """The projected token, read for every attempt because the kubelet renews it.

    Raises:
        ExchangeError: permanent, when there is none.
    """
    name = f"{names.ENV_TOKEN_FILE} {file}"
    try:
        with open(file, "rb") as opened:  # noqa: PTH123  pathlib is 0.6 MiB
            content = opened.read(MAX_ASSERTION + 1)
    except OSError as error:
        message = f"{name} cannot be read ({error.strerror}): the webhook mounts it where the pod takes part"
        raise ExchangeError(Kind.PERMANENT, "invalid_request", message) from error
    text = content.decode("ascii", "replace").strip()
    if not text or len(content) > MAX_ASSERTION or not text.isascii():
        state = "empty" if not text else "not a token"
        raise ExchangeError(Kind.PERMANENT, "invalid_request", f"{name} is {state}: see the kubelet's log")
    return text


def _decode(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _token(document: object, requested: float, host: str) -> AccessToken:
    """The token in the body of a 200 response, which may be anything."""
    members: dict[str, Any] = document if isinstance(document, dict) else {}
    secret, lifetime = members.get("access_token"), _seconds(members.get("expires_in"))
    kind = members.get("token_type", "Bearer")
    if not isinstance(secret, str) or not secret.isascii() or not secret.isprintable() or not secret or not lifetime:
        raise outage(f"{host} answered 200 without a token; something other than Microsoft Entra may have answered")
    extended = max(lifetime, _seconds(members.get("ext_expires_in")))
    token_type = kind if isinstance(kind, str) else "Bearer"
    return AccessToken(secret, token_type, requested, requested + lifetime, requested + extended)


def _seconds(value: object) -> int:
    """Seconds as a number or as text; 0 for anything else."""
    text = str(value) if isinstance(value, int | str) else ""
    return min(int(text), MAX_LIFETIME) if text.isascii() and text.isdigit() and len(text) < len("1000000000") else 0


def _error(response: ClientResponse, refusal: Refusal, host: str, advice: str) -> ExchangeError:
    """The error of a response that is no token."""
    kind, hold_off = refusal.meaning.kind, _retry_after(response)
    if not refusal.error and not refusal.code:
        return ExchangeError(
            kind, _ERRORS[kind], _without_entras_error(kind, host, response.status, hold_off), hold_off
        )
    wait = f" (Retry-After: {hold_off:.0f} s)" if hold_off else ""
    message = f"{advice}{wait}. Entra said: {refusal.description}"
    return ExchangeError(kind, refusal.error or _ERRORS[kind], message, hold_off, refusal.code)


def _without_entras_error(kind: Kind, host: str, status: int, hold_off: float) -> str:
    """The message for a response whose body is not an error of Entra's: throttling and outages have none at times."""
    wait = f"wait {hold_off:.0f} s" if hold_off else "try again"
    if kind is Kind.THROTTLED:
        return f"{host} answered {status}, too many requests: {wait}"
    if kind is Kind.OUTAGE:
        return f"{host} answered {status}, which is an outage of Microsoft Entra or of the way to it: {wait}"
    return (
        f"{host} answered {status} and nothing that Microsoft Entra would say: check {names.ENV_AUTHORITY_HOST} and "
        "what stands between the pod and it"
    )


# The codes of errors that have none of Entra's.
_ERRORS: Final = {
    Kind.PERMANENT: "invalid_request",
    Kind.PROPAGATING: "invalid_request",
    Kind.THROTTLED: "too_many_requests",
    Kind.OUTAGE: "temporarily_unavailable",
}


# Errors for which the assertion's claims help.
_ASSERTION_CODES: Final = frozenset(
    {70021, 700211, 700212, 700213, 7002131, 7002138, 70025, 700024, 7000272, 50013, 50166, 501661, 90061}
)


def _retry_after(response: ClientResponse) -> float:
    """The seconds of Retry-After, at most MAX_HOLD_OFF; 0 for a date or without one."""
    value = next((value for name, value in response.headers if name == "retry-after"), "")
    return min(int(value[:9]), MAX_HOLD_OFF) if value.isascii() and value.isdigit() else 0
