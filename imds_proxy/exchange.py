"""The exchange of the pod's projected token for an access token, with the retries that are worth it."""

import asyncio
import gc
import logging
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from azure_workload_identity import __version__, entra, names
from azure_workload_identity.entra import Kind
from imds_proxy import client
from imds_proxy.answer import Token
from imds_proxy.client import ClientError, Outgoing
from imds_proxy.clock import Clock
from imds_proxy.outbound import OutboundError, proxy_for
from imds_proxy.request import ImdsError, TokenRequest
from imds_proxy.settings import Settings
from imds_proxy.trust import Trust

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ATTEMPT_SECONDS: Final = 8.0
TOTAL_SECONDS: Final = 20.0
MAX_ANSWER: Final = 256 << 10
MAX_ASSERTION: Final = 64 << 10
MAX_LIFETIME: Final = 10 * 86400
RETRY_AFTER: Final = 5
MAX_RETRY_AFTER: Final = 300
SUCCESS: Final = 200
# Seconds before each further try. An outage that outlasts these is told; SDKs then try again themselves.
WAITS: Final = {
    Kind.PERMANENT: (),
    Kind.PROPAGATING: (1.0, 2.0, 4.0, 8.0),
    Kind.THROTTLED: (1.0, 2.0),
    Kind.OUTAGE: (0.2, 0.6, 1.8),
}
# SDKs give a 400 up at once, and try a 429 and a 503 again.
STATUS: Final = {Kind.PERMANENT: 400, Kind.PROPAGATING: 400, Kind.THROTTLED: 429, Kind.OUTAGE: 503}

log = logging.getLogger("imds_proxy.exchange")


class ExchangeError(ImdsError):
    """No token came of an exchange; `waits` is what the server asked to be waited for, in seconds."""

    def __init__(self, kind: Kind, error: str, message: str, waits: float = 0) -> None:
        told = kind in {Kind.THROTTLED, Kind.OUTAGE}
        super().__init__(STATUS[kind], error, message, max(RETRY_AFTER, round(waits)) if told else 0)
        self.kind = kind
        self.waits = waits


def outage(message: str, waits: float = 0) -> ExchangeError:
    """A fault that passes."""
    return ExchangeError(Kind.OUTAGE, "temporarily_unavailable", message, waits)


class Exchange:
    """Exchanges until a token comes, or no further try is worth it.

    `counted` hears of every try: "success" or the kind of its error, and the seconds that it took.
    """

    def __init__(self, settings: Settings, trust: Trust, clock: Clock, counted: Callable[[str, float], None]) -> None:
        self._settings = settings
        self._trust = trust
        self._clock = clock
        self._counted = counted

    async def __call__(self, asked: TokenRequest) -> Token:
        """A fresh token.

        Raises:
            ExchangeError: what the last try came to.
        """
        began, tries = self._clock.now(), 0
        while True:
            try:
                token = await self._timed(asked)
            except ExchangeError as error:
                wait = self._wait(error, tries)
                if wait is None or self._clock.now() - began + wait > TOTAL_SECONDS:
                    log.warning("no token for %s: %s", asked.resource, error.message)
                    raise
                log.warning("no token for %s yet, trying again in %.1f s: %s", asked.resource, wait, error.message)
                await self._clock.sleep(wait)
                tries += 1
            else:
                log.info("a token for %s, for %.0f s", asked.resource, token.expires - token.received)
                return token

    def _wait(self, error: ExchangeError, tries: int) -> float | None:
        """Seconds until the next try, at least those that the server asked for; None when there is to be none."""
        waits = WAITS[error.kind]
        if tries >= len(waits):
            return None
        # Between a half and the whole, so that many pods do not come back together.
        return max(error.waits, waits[tries] * (1 + self._clock.chance()) / 2)

    async def _timed(self, asked: TokenRequest) -> Token:
        began = self._clock.now()
        try:
            token = await self._once(asked)
        except ExchangeError as error:
            self._counted(error.kind, self._clock.now() - began)
            raise
        finally:
            # A TLS connection of asyncio's is a cycle around a buffer of 256 KiB, and as young as this try.
            gc.collect(1)
        self._counted("success", self._clock.now() - began)
        return token

    async def _once(self, asked: TokenRequest) -> Token:
        assertion = read_assertion(self._settings.token_file)
        request = self._request(asked, assertion)
        try:
            proxy = proxy_for(request.origin, self._settings.environ)
            async with asyncio.timeout(ATTEMPT_SECONDS):
                answer = await client.send(request, self._trust, proxy)
                try:
                    body = await answer.body(MAX_ANSWER)
                finally:
                    answer.close()
        except TimeoutError:
            raise outage(f"{request.origin.netloc} did not answer within {ATTEMPT_SECONDS:g} s") from None
        except (ClientError, OutboundError) as error:
            raise outage(str(error)) from error
        document = _decoded(body)
        if answer.status == SUCCESS:
            return _token(document, self._clock.now(), request.origin.netloc)
        raise _refused(answer, document, request.origin.netloc, assertion)

    def _request(self, asked: TokenRequest, assertion: str) -> Outgoing:
        """https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow, third case."""
        settings, form = (
            self._settings,
            {
                "grant_type": "client_credentials",
                "client_id": asked.client_id,
                "scope": asked.scope,
                "client_assertion_type": ASSERTION_TYPE,
                "client_assertion": assertion,
            },
        )
        path = f"{settings.authority.path}/{settings.tenant_id}/oauth2/v2.0/token"
        endpoint = settings.token_proxy
        return Outgoing(
            method="POST",
            origin=endpoint.origin if endpoint else settings.authority,
            target=endpoint.origin.path + path if endpoint else path,
            headers=(
                ("content-type", "application/x-www-form-urlencoded"),
                ("accept", "application/json"),
                ("user-agent", f"azwi-proxy/{__version__}"),
            ),
            body=urlencode(form).encode(),
            server_name=endpoint.sni if endpoint else "",
        )


def read_assertion(file: str) -> str:
    """The projected token as it is now: the kubelet renews it.

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


def _decoded(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _token(document: object, now: float, where: str) -> Token:
    """The token in a successful answer, which may yet be anything."""
    members: dict[str, Any] = document if isinstance(document, dict) else {}
    secret, lifetime = members.get("access_token"), _seconds(members.get("expires_in"))
    kind = members.get("token_type", "Bearer")
    if not isinstance(secret, str) or not secret.isascii() or not secret.isprintable() or not secret or not lifetime:
        raise outage(f"{where} answered 200 without a token; something other than Microsoft Entra may have answered")
    extended = max(lifetime, _seconds(members.get("ext_expires_in")))
    return Token(secret, kind if isinstance(kind, str) else "Bearer", now, now + lifetime, now + extended)


def _seconds(value: object) -> int:
    """A number of seconds, as a number or in a string; 0 for what is none."""
    text = str(value) if isinstance(value, int | str) else ""
    return min(int(text), MAX_LIFETIME) if text.isascii() and text.isdigit() and len(text) < len("1000000000") else 0


def _refused(answer: client.Answer, document: object, where: str, assertion: str) -> ExchangeError:
    refusal = entra.refusal(answer.status, document)
    kind, waits = refusal.meaning.kind, _retry_after(answer)
    if not refusal.error and not refusal.code:
        message = (
            f"{where} answered {answer.status} and nothing that Microsoft Entra would say: check "
            f"{names.ENV_AUTHORITY_HOST} and what stands between the pod and it"
        )
        return ExchangeError(
            kind, "temporarily_unavailable" if kind is Kind.OUTAGE else "invalid_request", message, waits
        )
    token = entra.claims(assertion)
    said = ", ".join(f"{name} {value}" for name, value in token.items()) if refusal.code in _OF_THE_TOKEN else ""
    message = refusal.meaning.remedy + (f". The pod's token has {said}" if said else "")
    return ExchangeError(
        kind, refusal.error or "invalid_request", f"{message}. Entra said: {refusal.description}", waits
    )


# Errors for which it helps to see what the token says.
_OF_THE_TOKEN: Final = frozenset(
    {70021, 700211, 700212, 700213, 7002131, 7002138, 70025, 700024, 7000272, 50013, 50166, 501661, 90061}
)


def _retry_after(answer: client.Answer) -> float:
    """The seconds of Retry-After, at most MAX_RETRY_AFTER; a date there counts as none."""
    value = next((value for name, value in answer.headers if name == "retry-after"), "")
    return min(int(value[:9]), MAX_RETRY_AFTER) if value.isascii() and value.isdigit() else 0
