"""Handles one request from beginning to end."""

import logging
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from azure_workload_identity import logs
from imds_proxy import metrics, responses
from imds_proxy.clock import Clock
from imds_proxy.messages import Request, Response
from imds_proxy.metrics import Metrics
from imds_proxy.passthrough import PassThrough
from imds_proxy.request import (
    IDENTITY,
    METADATA,
    TOKEN_PATH,
    ImdsError,
    TokenRequest,
    check_guards,
    check_host,
    path_of,
    token_request,
)
from imds_proxy.responses import AccessToken
from imds_proxy.settings import is_below
from imds_proxy.token_cache import TokenCache

READY_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"
OWN_PATHS: Final = frozenset({READY_PATH, METRICS_PATH})
CLIENT_ERROR: Final = 400
MAX_SHOWN: Final = 200

log = logging.getLogger("proxy")


class App:
    """Handles requests; `is_ready` returns whether new ones are accepted."""

    def __init__(
        self,
        tokens: TokenCache,
        pass_through: PassThrough,
        metrics: Metrics,
        clock: Clock,
        client_id: str,
        is_ready: Callable[[], bool],
    ) -> None:
        self._tokens = tokens
        self._pass_through = pass_through
        self._metrics = metrics
        self._clock = clock
        self._client_id = client_id
        self._is_ready = is_ready

    def __call__(self, request: Request) -> Response | Awaitable[Response]:
        """Respond to one request, at once where nothing has to be waited for; an internal error is a response too."""
        fields: dict[str, object] = {"method": request.method}
        started = perf_counter()
        try:
            path = path_of(request.target)
            if path in OWN_PATHS:
                check_host(request)
                return self._health_or_metrics(path)
            response = self._imds(request, path, fields)
        except Exception as error:  # noqa: BLE001  an unknown one is logged there
            response = _failed(error, fields)
        if not isinstance(response, Response):
            return self._awaited(response, fields, started)
        self._record(response.status, fields, perf_counter() - started)
        return response

    async def _awaited(self, response: Awaitable[Response], fields: dict[str, object], started: float) -> Response:
        try:
            ready = await response
        except Exception as error:  # noqa: BLE001  as above
            ready = _failed(error, fields)
        self._record(ready.status, fields, perf_counter() - started)
        return ready

    def _imds(self, request: Request, path: str, fields: dict[str, object]) -> Response | Awaitable[Response]:
        if path == TOKEN_PATH:
            check_host(request)
            check_guards(request)
            wanted = token_request(request, self._client_id)
            fields["path"], fields["clientId"], fields["resource"] = "token", wanted.client_id, wanted.resource
            token = self._tokens.current(wanted)
            return self._fetched(wanted) if token is None else self._token_response(wanted, token)
        if self._pass_through.allows(path):
            check_host(request)
            check_guards(request)
            fields["path"], fields["passed"] = "pass-through", path
            return self._pass_through(request, path)
        raise not_found(path)

    async def _fetched(self, wanted: TokenRequest) -> Response:
        return self._token_response(wanted, await self._tokens.get(wanted))

    def _token_response(self, wanted: TokenRequest, token: AccessToken) -> Response:
        return responses.token_response(wanted, token, self._clock.unix(), self._clock.monotonic())

    def _health_or_metrics(self, path: str) -> Response:
        if path == METRICS_PATH:
            return Response(200, self._metrics.text(len(self._tokens)), (("content-type", metrics.CONTENT_TYPE),))
        return Response(200, b"ok", responses.TEXT) if self._is_ready() else Response(503, b"stopping", responses.TEXT)

    def _record(self, status: int, fields: dict[str, object], seconds: float) -> None:
        """Count a request and log it."""
        kind = str(fields.pop("path", "refused"))
        self._metrics.record_request(kind, status)
        # Requests for anything but a token are mostly an SDK's probe for IMDS.
        level = logging.WARNING if kind == "token" and status >= CLIENT_ERROR else logging.INFO
        if level >= logs.threshold():
            entry = {"path": kind, "status": status, **fields, "milliseconds": int(seconds * 1e6) / 1000}
            logs.write(level, log.name, "request", entry)


def _failed(error: Exception, fields: dict[str, object]) -> Response:
    if isinstance(error, ImdsError):
        fields["error"] = error.message
        return responses.error_response(error)
    log.error("a request failed; this is a fault of the proxy, please report it", exc_info=error)
    return responses.error_response(ImdsError(500, "server_error", "the proxy failed; its log says more"))


def not_found(path: str) -> ImdsError:
    """The error for a path that is not served, whatever the method and headers.

    Clients look for a newer IMDS by a path of its own, and take a 400 there for its presence.
    """
    if is_below(path, METADATA) and not is_below(path, IDENTITY):
        return ImdsError(
            404,
            "not_found",
            f"{path[:MAX_SHOWN]} is not served in this pod. An administrator can have it forwarded to the node's IMDS: "
            "the chart's value proxy.passThrough (the webhook's --proxy-pass-through), or --pass-through of a sidecar "
            f"in your own manifest; there is no annotation for it. Tokens are at {TOKEN_PATH}",
        )
    return ImdsError(404, "not_found", f"nothing is served here; tokens are at {TOKEN_PATH}")
