"""Endpoints for operators and monitoring: health, metrics, and the description of the API."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from fluxport.errors import NotFound
from fluxport.http.apidocs import page
from fluxport.http.routing import Router
from fluxport.http.secured import html_headers
from fluxport.http.session import Audience, among
from fluxport.telemetry import metrics


def router(
    ready: Callable[[], dict[str, bool]],
    measured: Callable[[], metrics.Measured],
    openapi: Callable[[], dict[str, Any]],
    *,
    metrics_for: Audience,
    details_for: Audience,
) -> Router:
    """``ready`` probes the dependencies of the service. ``metrics_for`` is the audience of the metrics,
    ``details_for`` that of the names of the dependencies and of the API's description."""
    routes = Router(tags=["operations"])

    @routes.get("/health/live", operation_id="health_live", summary="Whether the process responds")
    async def live() -> dict[str, str]:
        return {"status": "ok"}

    @routes.get(
        "/health/ready",
        operation_id="health_ready",
        summary="Whether all dependencies are usable; 503 if not, or during shutdown",
    )
    def readiness(request: Request) -> Response:
        states = {name: "ok" if usable else "unavailable" for name, usable in ready().items()}
        good = set(states.values()) == {"ok"}
        names = states if among(details_for, request) else {}
        return JSONResponse({"status": "ok" if good else "unavailable"} | names, 200 if good else 503)

    @routes.get("/metrics", operation_id="metrics", summary="Metrics for Prometheus", response_class=Response)
    def prometheus(request: Request) -> Response:
        check(request, metrics_for)
        return Response(metrics.exposition(measured), media_type=metrics.CONTENT_TYPE)

    @routes.get("/openapi.json", include_in_schema=False)
    def description(request: Request) -> Response:
        check(request, details_for)
        return JSONResponse(openapi())

    @cache
    def described() -> tuple[str, dict[str, str]]:
        text, style = page(openapi())
        return text, html_headers(style)

    @routes.get("/docs", include_in_schema=False)
    def docs(request: Request) -> Response:
        check(request, details_for)
        text, headers = described()
        return HTMLResponse(text, headers=headers)

    return routes


def check(request: Request, audience: Audience) -> None:
    """NotFound if the caller is not in ``audience``."""
    if not among(audience, request):
        raise NotFound("There is nothing at this address.")
