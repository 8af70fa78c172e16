"""What operators and their machines ask: health, metrics, and the description of the API."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from fluxport.errors import NotFound
from fluxport.http.apidocs import page
from fluxport.http.secured import html_headers
from fluxport.http.session import is_local
from fluxport.telemetry import metrics

Audience = Literal["local", "on", "off"]


def router(
    ready: Callable[[], dict[str, bool]],
    measured: Callable[[], metrics.Measured],
    openapi: Callable[[], dict[str, Any]],
    *,
    metrics_for: Audience,
) -> APIRouter:
    """``ready`` tries what the service depends on; ``metrics_for`` says who may read the metrics."""
    routes = APIRouter(tags=["operations"])

    @routes.get("/health/live", summary="That the process answers")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get("/health/ready", summary="Whether what it depends on can be used; 503 if not, or while it shuts down")
    def readiness() -> Response:
        found = {name: "ok" if usable else "unavailable" for name, usable in ready().items()}
        good = set(found.values()) == {"ok"}
        return JSONResponse({"status": "ok" if good else "unavailable"} | found, 200 if good else 503)

    @routes.get("/metrics", summary="What Prometheus reads", response_class=Response)
    def prometheus(request: Request) -> Response:
        if metrics_for == "off" or (metrics_for == "local" and not is_local(request)):
            raise NotFound("There is nothing at this address.")
        return Response(metrics.exposition(measured), media_type=metrics.CONTENT_TYPE)

    @cache
    def described() -> tuple[str, dict[str, str]]:
        text, style = page(openapi())
        return text, html_headers(style)

    @routes.get("/docs", include_in_schema=False)
    def docs() -> Response:
        text, headers = described()
        return HTMLResponse(text, headers=headers)

    return routes
