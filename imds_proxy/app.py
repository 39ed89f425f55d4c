"""One request from beginning to end."""

import logging
from collections.abc import Callable
from time import perf_counter
from typing import Final

from azure_workload_identity import logs
from imds_proxy import answer, metrics
from imds_proxy.clock import Clock
from imds_proxy.messages import Request, Response
from imds_proxy.metrics import Metrics
from imds_proxy.passthrough import PassThrough
from imds_proxy.request import IDENTITY, METADATA, TOKEN_PATH, ImdsError, check_guards, path_of, token_request
from imds_proxy.settings import is_below
from imds_proxy.tokens import Tokens

READY_PATH: Final = "/readyz"
METRICS_PATH: Final = "/metrics"
CLIENT_ERROR: Final = 400

log = logging.getLogger("proxy")


class App:
    """Answers requests; `ready` tells whether new ones are welcome."""

    def __init__(
        self,
        tokens: Tokens,
        pass_through: PassThrough,
        counted: Metrics,
        clock: Clock,
        client_id: str,
        ready: Callable[[], bool],
    ) -> None:
        self._tokens = tokens
        self._pass_through = pass_through
        self._metrics = counted
        self._clock = clock
        self._client_id = client_id
        self._ready = ready

    async def __call__(self, request: Request) -> Response:
        """Answer one request; whatever happens there is an answer."""
        began, fields = perf_counter(), {"method": request.method}
        try:
            path = path_of(request.target)
            if path in {READY_PATH, METRICS_PATH}:
                return self._about_itself(path)
            response = await self._imds(request, path, fields)
        except ImdsError as error:
            fields["error"] = error.message
            response = answer.failure(error)
        except Exception:
            log.exception("a request failed; this is a fault of the proxy, please report it")
            response = answer.failure(ImdsError(500, "server_error", "the proxy failed; its log says more"))
        self._tell(response.status, fields, perf_counter() - began)
        return response

    async def _imds(self, request: Request, path: str, fields: dict[str, str]) -> Response:
        check_guards(request)
        if path == TOKEN_PATH:
            asked = token_request(request, self._client_id)
            fields.update(path="token", clientId=asked.client_id, resource=asked.resource)
            return answer.token(asked, await self._tokens.get(asked), self._clock.now())
        if self._pass_through.allows(path):
            fields.update(path="pass-through", passed=path)
            return await self._pass_through(request, path)
        if is_below(path, IDENTITY):
            raise ImdsError(403, "forbidden", f"{path} is not answered in this pod; tokens are at {TOKEN_PATH}")
        if is_below(path, METADATA):
            raise ImdsError(403, "forbidden", f"{path} is not answered in this pod; --pass-through may allow it")
        raise ImdsError(404, "not_found", f"there is nothing here; tokens are at {TOKEN_PATH}")

    def _about_itself(self, path: str) -> Response:
        if path == METRICS_PATH:
            return Response(200, self._metrics.text(len(self._tokens)), (("content-type", metrics.CONTENT_TYPE),))
        return Response(200, b"ok", answer.TEXT) if self._ready() else Response(503, b"stopping", answer.TEXT)

    def _tell(self, status: int, fields: dict[str, str], seconds: float) -> None:
        kind = fields.get("path", "refused")
        self._metrics.answered(kind, status)
        # What is not for a token is mostly an SDK that looks whether there is anything here.
        level = logging.WARNING if kind == "token" and status >= CLIENT_ERROR else logging.INFO
        if level >= logs.threshold():
            told = {"path": kind, "status": status, **fields, "milliseconds": round(seconds * 1000, 3)}
            logs.write(level, log.name, "request", told)
