"""The ASGI apps of the three listeners."""

from collections.abc import Callable
from typing import Final

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.routing import Route

from webhook import names
from webhook.accounts.base import Accounts
from webhook.admission.policy import Policy
from webhook.server.handler import AdmissionEndpoint
from webhook.server.metrics import Metrics

# Admission must cost little and answer nothing but what it is for: no telemetry, no documentation pages.
_NO_TELEMETRY: Final = TelemetryConfig(tracing=False, metrics=False, logs=False)


def admission_app(accounts: Accounts, policy: Callable[[], Policy], metrics: Metrics) -> FastAPI:
    """The app of the webhook port."""
    app = _app()
    for path, namespace_labelled in ((names.MUTATE_PATH, False), (names.MUTATE_NAMESPACE_PATH, True)):
        endpoint = AdmissionEndpoint(accounts, policy, metrics, namespace_labelled=namespace_labelled)
        # An ASGI app as the endpoint: a path operation's own reading of the body would cost more than the decision.
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
    return app


def health_app(ready: Callable[[], bool]) -> FastAPI:
    """`/healthz`: the event loop runs. `/readyz`: admissions are answered."""
    app = _app()

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        return "ok"

    @app.get("/readyz")
    async def readyz() -> PlainTextResponse:
        return PlainTextResponse("ok") if ready() else PlainTextResponse("not serving yet", status_code=503)

    return app


def metrics_app(metrics: Metrics) -> FastAPI:
    """`/metrics` in Prometheus' text format."""
    app = _app()

    @app.get("/metrics")
    async def exposition() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return app


def _app() -> FastAPI:
    return FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False, telemetry=_NO_TELEMETRY)
