"""The apps of the three ports."""

import asyncio
from typing import Any

from webhook.server.app import health_app


def get(app: Any, path: str) -> tuple[int, bytes]:  # noqa: ANN401  an ASGI app
    """GET from an app: status and body."""
    sent: list[Any] = []

    async def receive() -> Any:  # noqa: ANN401  ASGI's message
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:  # noqa: ANN401  ASGI's message
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": b"",
        "headers": [],
        "app": None,
    }
    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def test_not_ready() -> None:
    """A server that does not serve yet is healthy and not ready."""
    app = health_app(lambda: "no certificate is served yet")
    assert get(app, "/healthz") == (200, b"ok")
    assert get(app, "/readyz") == (503, b"not ready: no certificate is served yet")


def test_no_documentation_pages() -> None:
    """FastAPI's own pages are off."""
    assert get(health_app(lambda: ""), "/docs")[0] == 404
    assert get(health_app(lambda: ""), "/openapi.json")[0] == 404
