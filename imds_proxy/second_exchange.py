"""Two exchanges for one token: the pod's identity gets a token that proves an application, in any tenant that has it.

Imported only where a proxy is set up for it.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from azure_workload_identity import entra
from azure_workload_identity import second_exchange as second
from azure_workload_identity.entra import Refusal
from imds_proxy.client import ClientRequest
from imds_proxy.clock import Clock
from imds_proxy.exchange import Exchange, ExchangeError, OnAttempt, client_request
from imds_proxy.request import ImdsError, TokenRequest
from imds_proxy.responses import AccessToken
from imds_proxy.settings import Application, Settings
from imds_proxy.token_cache import TokenCache
from imds_proxy.trust import Trust

# The first identity's token is not valid at this time, whatever lifetime it came with.
NOT_VALID_NOW: Final = 700024


def second_exchange(
    first: Exchange, settings: Settings, trust: Trust, clock: Clock, on_attempt: OnAttempt
) -> Callable[[TokenRequest], Awaitable[AccessToken]]:
    """An exchange that makes two for the application of the settings, and one for any other client id.

    `first` is an exchange for the pod's own identity; its token is cached and renewed as any other.
    """
    application = settings.then
    assert application is not None  # noqa: S101  the caller has looked
    then = SecondExchange(settings, application, TokenCache(first, clock), trust, clock, on_attempt)
    wanted = application.client_id.lower()

    def choose(request: TokenRequest) -> Awaitable[AccessToken]:
        return then(request) if request.client_id.lower() == wanted else first(request)

    return choose


class SecondExchange(Exchange):
    """Exchanges tokens of a first identity, which `tokens` keeps, for tokens of an application.

    It is sent to Microsoft Entra even where the first exchange goes to a custom token endpoint: that one only knows the
    cluster's tokens.
    """

    def __init__(
        self,
        settings: Settings,
        application: Application,
        tokens: TokenCache,
        trust: Trust,
        clock: Clock,
        on_attempt: OnAttempt,
    ) -> None:
        super().__init__(settings, trust, clock, on_attempt)
        self._application = application
        self._tokens = tokens
        authority = f"{settings.authority.scheme}://{settings.authority.netloc}{settings.authority.path}"
        self._first = TokenRequest(settings.client_id, entra.exchange_audience(authority))

    async def _assertion(self) -> str:
        """The first identity's token.

        Raises:
            ImdsError: when there is none. Further attempts have been made, so it is no ExchangeError.
        """
        try:
            return (await self._tokens.get(self._first)).secret
        except ImdsError as error:
            message = (
                f"the first of two exchanges failed, for the pod's identity {self._first.client_id} in tenant "
                f"{self._settings.tenant_id}: {error.message}"
            )
            raise ImdsError(error.status, error.error, message, error.retry_after, error.hold_off) from error

    def _client_request(self, request: TokenRequest, assertion: str) -> ClientRequest:
        return client_request(self._settings.authority, self._application.tenant_id, request, assertion)

    async def _exchange(self, request: TokenRequest, assertion: str) -> AccessToken:
        try:
            return await super()._exchange(request, assertion)
        except ExchangeError as error:
            if error.code == NOT_VALID_NOW:
                self._tokens.discard(self._first)
            message = (
                "the first of two exchanges gave a token, and the second failed, for application "
                f"{self._application.client_id} in tenant {self._application.tenant_id}: {error.message}"
            )
            raise ExchangeError(error.kind, error.error, message, error.hold_off, error.code) from error

    def _advice(self, refusal: Refusal, assertion: str) -> str:
        claims = entra.claims(assertion, entra.SUBJECT_CLAIMS)
        client_id, tenant_id = self._application.client_id, self._application.tenant_id
        return second.remedy(refusal.code, refusal.meaning, client_id, tenant_id, claims)
