"""Handles one request from beginning to end."""

import logging
from collections.abc import Callable
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
    check_guards,
    check_host,
    path_of,
    token_request,
)
from imds_proxy.settings import is_below
from imds_proxy.token_cache import TokenCache

READY_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"
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

    async def __call__(self, request: Request) -> Response:
        """Respond to one request; an internal error is a response too."""
        started, fields = perf_counter(), {"method": request.method}
        try:
            path = path_of(request.target)
            if path in {READY_PATH, METRICS_PATH}:
                check_host(request)
                return self._health_or_metrics(path)
            response = await self._imds(request, path, fields)
        except ImdsError as error:
            fields["error"] = error.message
            response = responses.error_response(error)
        except Exception:
            log.exception("a request failed; this is a fault of the proxy, please report it")
            response = responses.error_response(ImdsError(500, "server_error", "the proxy failed; its log says more"))
        self._record(response.status, fields, perf_counter() - started)
        return response

    async def _imds(self, request: Request, path: str, fields: dict[str, str]) -> Response:
        if path == TOKEN_PATH:
            check_host(request)
            check_guards(request)
            wanted = token_request(request, self._client_id)
            fields.update(path="token", clientId=wanted.client_id, resource=wanted.resource)
            token = await self._tokens.get(wanted)
            return responses.token_response(wanted, token, self._clock.monotonic(), self._clock.unix())
        if self._pass_through.allows(path):
            check_host(request)
            check_guards(request)
            fields.update(path="pass-through", passed=path)
            return await self._pass_through(request, path)
        raise not_found(path)

    def _health_or_metrics(self, path: str) -> Response:
        if path == METRICS_PATH:
            return Response(200, self._metrics.text(len(self._tokens)), (("content-type", metrics.CONTENT_TYPE),))
        return Response(200, b"ok", responses.TEXT) if self._is_ready() else Response(503, b"stopping", responses.TEXT)

    def _record(self, status: int, fields: dict[str, str], seconds: float) -> None:
        """Count a request and log it."""
        kind = fields.get("path", "refused")
        self._metrics.record_request(kind, status)
        # Requests for anything but a token are mostly an SDK's probe for IMDS.
        level = logging.WARNING if kind == "token" and status >= CLIENT_ERROR else logging.INFO
        if level >= logs.threshold():
            entry = {"path": kind, "status": status, **fields, "milliseconds": round(seconds * 1000, 3)}
            logs.write(level, log.name, "request", entry)


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
