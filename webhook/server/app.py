"""The ASGI apps of the three ports."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from azure_workload_identity import names
from webhook.accounts.base import Accounts
from webhook.admission.policy import Policy
from webhook.server.body import BodyBudget
from webhook.server.endpoint import AdmissionEndpoint
from webhook.server.immediate_protocol import Answer
from webhook.server.metrics import Metrics

# Admission must cost little and serve nothing else: no telemetry, no documentation pages.
_BARE: Final[dict[str, Any]] = {
    "openapi_url": None,
    "docs_url": None,
    "redoc_url": None,
    "redirect_slashes": False,
    "telemetry": TelemetryConfig(tracing=False, metrics=False, logs=False),
}


def admission_app(
    accounts: Accounts, policy: Callable[[], Policy], metrics: Metrics, draining: Callable[[], bool] = lambda: False
) -> "AdmissionApp":
    """The app of the webhook port; while `draining`, each response closes its connection."""
    app, budget = AdmissionApp(**_BARE), BodyBudget()
    for path, namespace_labelled in ((names.MUTATE_PATH, False), (names.MUTATE_NAMESPACE_PATH, True)):
        endpoint = AdmissionEndpoint(
            accounts, policy, metrics, budget, namespace_labelled=namespace_labelled, draining=draining
        )
        app.router.routes.append(Route(path, endpoint, methods=["POST"]))
        app.admissions[path] = endpoint
    return app


class AdmissionApp(FastAPI):
    """A FastAPI app that hands a POST to an admission path straight to its endpoint.

    Middleware and routing would add a tenth to the cost of a small admission; every other request goes through them.
    """

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401  FastAPI's own
        super().__init__(**settings)
        self.admissions: dict[str, AdmissionEndpoint] = {}

    def answers(self) -> Mapping[bytes, Answer]:
        """What answers reviews at once, by path."""
        return {path.encode(): endpoint.answer_at_once for path, endpoint in self.admissions.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        endpoint = self.admissions.get(scope["path"]) if scope.get("method") == "POST" else None
        await (endpoint or super().__call__)(scope, receive, send)


def health_app(unready_reason: Callable[[], str]) -> FastAPI:
    """`/healthz`: the event loop runs. `/readyz`: admissions are answered, or why not."""

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok")

    async def readyz(_request: Request) -> Response:
        reason = unready_reason()
        return PlainTextResponse(f"not ready: {reason}" if reason else "ok", status_code=503 if reason else 200)

    return _app_of_pages({"/healthz": healthz, "/readyz": readyz})


def metrics_app(metrics: Metrics) -> FastAPI:
    """`/metrics` in Prometheus' text format."""

    async def exposition(_request: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return _app_of_pages({"/metrics": exposition})


def _app_of_pages(pages: Mapping[str, Callable[[Request], Awaitable[Response]]]) -> FastAPI:
    """An app that answers GET; Starlette's routes, since FastAPI's would load all of pydantic.v1."""
    app = FastAPI(**_BARE)
    app.router.routes += [Route(path, page, methods=["GET"]) for path, page in pages.items()]
    return app
